from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.grid.toml_lines import line_of

TEXT = '''\
# a comment with [brackets] = {and} "quotes"
title = "a = [1]"  # another
when = 1979-05-27 07:32:00.5
a.b = 1
a . "c.d" = -1.5e3
many = [
  1, # one
  [2, 3],
  {x = 1, "y z" = [4,
    5]},
]
text = """
[block]
x = 'not a key'
"""
raw = \'\'\'
"""
\'\'\'
inline = {p = {q = true}, r.s = "}", e = {}}

[[block]]
name = "first"
[block.options.em]
init = "majority"

[[block]]
"quoted \\u0061" = 'C:\\path'
  [[block.inner]]
  k = 1
  [[block.inner]]
  k = 2
[other."dotted.name"]
z = []
'''


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """All paths of what tomllib has read."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from paths(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from paths(part, (*path, index))


@pytest.mark.parametrize(
    ("path", "start"),
    [
        (("title",), "title ="),
        (("when",), "when"),
        (("a",), "a.b"),
        (("a", "b"), "a.b"),
        (("a", "c.d"), "a . "),
        (("many", 0), "1, # one"),
        (("many", 1, 1), "[2, 3]"),
        (("many", 2, "x"), "{x = 1"),
        (("many", 2, "y z", 1), "5]}"),
        (("raw",), "raw"),
        (("inline", "p", "q"), "inline"),
        (("inline", "r", "s"), "inline"),
        (("block",), "[[block]]"),
        (("block", 0, "name"), 'name = "first"'),
        (("block", 0, "options"), "[block.options.em]"),
        (("block", 0, "options", "em", "init"), "init"),
        (("block", 1, "quoted a"), '"quoted'),
        (("block", 1, "inner", 1), "[[block.inner]]"),
        (("block", 1, "inner", 1, "k"), "k = 2"),
        (("other", "dotted.name", "z"), "z = []"),
    ],
)
def test_the_line_of_a_path(path: tuple[str | int, ...], start: str) -> None:
    line = line_of(TEXT, path)
    assert line is not None
    assert TEXT.splitlines()[line - 1].strip().startswith(start)


def test_tables_of_one_array_stand_on_their_own_lines() -> None:
    headers = [number for number, line in enumerate(TEXT.splitlines(), 1) if line == "[[block]]"]
    assert [line_of(TEXT, ("block", 0)), line_of(TEXT, ("block", 1))] == headers


def test_every_path_that_tomllib_reads_has_a_line() -> None:
    missing = [path for path in paths(tomllib.loads(TEXT)) if line_of(TEXT, path) is None]
    assert missing == []


@pytest.mark.parametrize("path", [("nothing",), ("x",), ("block", 2), ("many", 3), ("a", "b", "c"), ()])
def test_a_path_that_is_not_there_has_none(path: tuple[str | int, ...]) -> None:
    assert line_of(TEXT, path) is None


def test_windows_line_ends() -> None:
    assert line_of("a = 1\r\n\r\n[t]\r\nb = [\r\n2]\r\n", ("t", "b", 0)) == 5


_KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=4)
_SCALARS = st.one_of(st.integers(-5, 5), st.floats(0, 1), st.booleans(), _KEYS)
_VALUES = st.recursive(_SCALARS, lambda part: st.one_of(st.lists(part), st.dictionaries(_KEYS, part)), max_leaves=12)


def in_toml(value: Any, between: str) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {in_toml(part, between)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + between + "".join(f"{in_toml(part, between)},{between}" for part in value) + "]"
    return quoted(value)


def quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@given(st.dictionaries(_KEYS, _VALUES, max_size=5), st.sampled_from(["", " ", "\n", " # x = [1]\n"]))
def test_any_document(document: dict[str, Any], between: str) -> None:
    text = "".join(f"{quoted(key)} = {in_toml(part, between)}\n" for key, part in document.items())
    assert tomllib.loads(text) == document
    assert all(line_of(text, path) is not None for path in paths(document))
    start = 1
    for key, part in document.items():
        assert line_of(text, (key,)) == start
        start += in_toml(part, between).count("\n") + 1
