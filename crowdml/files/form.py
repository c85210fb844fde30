"""Say how a file stores its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Layout = Literal["long", "wide", "label-studio", "doccano"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_N_NAMES = 12  # the most names in a message
_N_LETTERS = 1000  # the most characters of a message


class FileError(ValueError):
    """A file cannot be read or written.  The message names the file and says what is wrong.

    The message is one line.  The middle of a very long message is left out, because a damaged file can have names and
    values of any length.
    """

    def __init__(self, message: str) -> None:
        text = " ".join(message.splitlines())
        half = _N_LETTERS // 2
        super().__init__(text if len(text) <= _N_LETTERS else f"{text[:half]} ... {text[-half:]}")


@dataclass(frozen=True)
class FileForm:
    """How a file stores its rows.

    Args:
        layout: "long" has one row per annotation.  "wide" has one row per item and one column per worker; an empty
            cell is no annotation.  "label-studio" and "doccano" are the exports of these tools.
        worker_columns: the columns of the workers in a wide file; the default is every column except the items.
        delimiter: the character between two values of a CSV file.  The default is the first of comma, semicolon, tab
            and vertical bar that makes the wanted columns appear in the header.
        encoding: the encoding of a text file, such as "cp1252".  The default is UTF-8, or UTF-16 where the first bytes
            say so, or cp1252 where the first 256 KiB are no UTF-8 and look like western European text.

    Raises:
        ValueError: the layout or the encoding is unknown, or the delimiter is not one usable character.
    """

    layout: Layout = "long"
    worker_columns: tuple[str, ...] = ()
    delimiter: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"the layout must be one of {', '.join(LAYOUTS)}, got {self.layout!r}")
        if self.worker_columns and self.layout != "wide":
            raise ValueError(f"only a wide file has columns of workers, but the layout is {self.layout}")
        mark = self.delimiter
        if mark is not None and (len(mark) != 1 or not mark.isascii() or mark in '"\r\n\0'):
            raise ValueError(f"the delimiter must be one ASCII character, but no quote or line end, got {mark!r}")
        if self.encoding is not None and not _is_text_encoding(self.encoding):
            raise ValueError(
                f"encoding {self.encoding!r} is unknown; known are utf-8, utf-16, cp1252, latin-1 and others"
            )


FOUND = FileForm()
"""One row per annotation; delimiter and encoding are found from the file."""


def some_names(names: Sequence[str]) -> str:
    """Return the first twelve names, and the number of the other names."""
    more = f" and {len(names) - _N_NAMES} more" if len(names) > _N_NAMES else ""
    return ", ".join(names[:_N_NAMES]) + more


def _is_text_encoding(name: str) -> bool:
    try:
        return b"task".decode(name, "replace") != "" and "\0" not in name
    except (LookupError, ValueError):
        return False
