"""Find the faulty line in a malformed text file.

This search is slow and goes row by row.  It runs only after the fast reader has failed.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple


class FileError(ValueError):
    """A file cannot be read or written.  The message names the file and says what is wrong."""


class Fault(NamedTuple):
    """A line number, counted from 1, and what is wrong in that line."""

    line: int
    what: str


def csv_header(path: Path) -> list[str]:
    """Return the column names in the first row, or an empty list if the file is empty.

    Raises:
        FileError: the row is not UTF-8.
    """
    with _open_text(path) as lines:
        header = next(csv.reader(lines), [])
    if any(map(_undecodable, header)):
        raise FileError(f"{path}, line 1: the header is not UTF-8 text")
    return header


def csv_line(path: Path, row: int) -> int:
    """Return the line number where a data row, counted from 0, ends.  Empty lines do not count as rows."""
    with _open_text(path) as lines:
        reader = csv.reader(lines)
        next(itertools.islice(filter(None, reader), row + 1, None))
        return reader.line_num


def csv_fault(path: Path, columns: Sequence[str]) -> Fault | None:
    """Return the first row of a wrong length, with text that is not UTF-8, or with an open quote; else None."""
    with _open_text(path) as lines:
        reader = csv.reader(lines, strict=True)
        start = 1
        try:
            header = next(reader)
            wanted = [header.index(name) for name in columns]
            for row in reader:
                if row and len(row) != len(header):
                    return Fault(reader.line_num, f"the row has {len(row)} values, the header has {len(header)}")
                for name, at in zip(columns, wanted, strict=True):
                    if row and _undecodable(row[at]):
                        return Fault(reader.line_num, f"column {name!r} is not UTF-8 text")
                start = reader.line_num + 1
        except csv.Error as error:
            return Fault(start, f"a quoted value is not closed or not followed by a comma ({error})")
        except (OSError, EOFError, zlib.error) as error:
            return Fault(start, f"the compressed data is damaged or ends early ({error})")
    return None


def json_line(path: Path, row: int) -> int:
    """Return the line number of a record, where records are counted from 0.  Empty lines do not count as records."""
    with _open_text(path) as lines:
        full = (number for number, line in enumerate(lines, 1) if line.strip())
        return next(itertools.islice(full, row, None))


def json_first(path: Path) -> dict[str, Any]:
    """Return the first record, or an empty dict if the file is empty.

    Raises:
        FileError: the first record is not a JSON object.
    """
    with _open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                record = _record(line)
                if isinstance(record, str):
                    raise FileError(f"{path}, line {number}: {record}")
                return record
    return {}


def json_fault(path: Path, columns: Sequence[str]) -> Fault | None:
    """Return the first line that is no JSON object, or where the type of a column changes; else None."""
    number, kinds = 0, {}
    with _open_text(path) as lines:
        try:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                record = _record(line)
                if isinstance(record, str):
                    return Fault(number, record)
                for name in columns:
                    value = record.get(name)
                    kind = type(value).__name__
                    if value is not None and kinds.setdefault(name, kind) != kind:
                        return Fault(number, f"column {name!r} is {value!r} ({kind}), before it was {kinds[name]}")
        except (OSError, EOFError, zlib.error) as error:
            return Fault(number + 1, f"the compressed data is damaged or ends early ({error})")
    return None


def _record(line: str) -> dict[str, Any] | str:
    """Return the object on a line, or say what is wrong with the line."""
    if _undecodable(line):
        return "not UTF-8 text"
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg} at character {error.pos + 1})"
    return record if isinstance(record, dict) else f"not a JSON object but {line.strip()[:40]}"


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    """Open the file as UTF-8 text without a byte order mark.  Undecodable bytes become surrogates."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        yield lines


def _undecodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
