"""Where in a TOML text a key stands, which tomllib does not tell: for errors that name the line."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

Path = tuple[str | int, ...]


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line on which a key, or an element of an array, starts.

    Args:
        text: TOML that tomllib has read without complaint.
        path: the keys and indices that lead to it in what tomllib made of the text, as `("block", 0, "seeds", 2)`.

    Returns:
        The line, the first is 1; None where the text has no such path.
    """
    return _lines(text).get(tuple(path))


@lru_cache(maxsize=4)
def _lines(text: str) -> dict[Path, int]:
    """The lines of all paths in the text."""
    return _Reader(text).read()


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_TOKEN = re.compile(
    r"""
      (?P<string> \"{3} (?: \\. | [^\\] )*? \"{3,5} | '{3} .*? '{3,5} | " (?: \\. | [^"\\\n] )* " | '[^'\n]*' )
    | (?P<comment> \#[^\n]* )
    | (?P<newline> \n )
    | (?P<mark> [][{}=,.] )
    | (?P<space> [ \t\r]+ )
    | (?P<bare> [^][{}=,.\#"'\s]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_END = _Token("end", "", 0)


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        assert match.lastgroup is not None
        if match.lastgroup not in ("comment", "space"):
            yield _Token(match.lastgroup, match.group(), line)
        line += match.group().count("\n")


class _Reader:
    """Walks through the tokens of valid TOML and notes the line of each path."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._lines: dict[Path, int] = {}
        self._n_tables: Counter[Path] = Counter()  # of each array of tables: how many there have been

    def read(self) -> dict[Path, int]:
        table: Path = ()
        while self._peek() is not _END:
            if self._skip("\n"):
                continue
            if self._peek().text == "[":
                table = self._header()
            else:
                self._assignment(table)
        return self._lines

    def _header(self) -> Path:
        line = self._next().line
        is_array = self._skip("[")
        keys = self._key()
        path: Path = ()
        for key in keys[:-1]:
            path = self._newest((*path, key), line)
        path = (*path, keys[-1])
        if is_array:
            self._n_tables[path] += 1
        path = self._newest(path, line)
        self._next()
        if is_array:
            self._next()
        return path

    def _newest(self, path: Path, line: int) -> Path:
        """The table at the path; of an array of tables its newest one."""
        self._note(path, line)
        if self._n_tables[path]:
            path = (*path, self._n_tables[path] - 1)
            self._note(path, line)
        return path

    def _assignment(self, table: Path) -> None:
        line = self._peek().line
        path = table
        for key in self._key():
            path = (*path, key)
            self._note(path, line)
        self._next()
        self._value(path)

    def _key(self) -> list[str]:
        keys = []
        while True:
            token = self._next()
            keys.append(tomllib.loads(f"key = {token.text}")["key"] if token.kind == "string" else token.text)
            if not self._skip("."):
                return keys

    def _value(self, path: Path) -> None:
        if self._skip("["):
            self._array(path)
        elif self._skip("{"):
            self._inline_table(path)
        else:
            # A number or a time is several tokens.
            while self._peek() is not _END and self._peek().text not in (",", "]", "}", "\n"):
                self._next()

    def _array(self, path: Path) -> None:
        n_elements = 0
        while not self._skip("]"):
            if self._skip("\n") or self._skip(","):
                continue
            element = (*path, n_elements)
            self._note(element, self._peek().line)
            self._value(element)
            n_elements += 1

    def _inline_table(self, path: Path) -> None:
        while not self._skip("}"):
            if self._skip("\n") or self._skip(","):
                continue
            self._assignment(path)

    def _note(self, path: Path, line: int) -> None:
        self._lines.setdefault(path, line)

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _next(self) -> _Token:
        token = self._peek()
        self._at += 1
        return token

    def _skip(self, text: str) -> bool:
        """Go past a mark or a new line, if it is the next token."""
        token = self._peek()
        found = token.text == text and token.kind in ("mark", "newline")
        self._at += found
        return found
