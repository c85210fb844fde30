"""Find the faulty line in a malformed text file.

This search is slow and goes row by row.  It runs only after the fast reader has failed.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crowdml.files.form import FileError, FileForm
from crowdml.files.text_stream import LINE_LIMIT, TextFault, one_line, text_lines
from crowdml.support.look_alikes import cleaned

DELIMITERS = ",;\t|"
"""Delimiters of CSV files, in the order in which they are tried."""

_ADVICE = "; give its encoding, such as cp1252"

# The default limit of Python, 131,072 characters, is less than pyarrow reads: a quoted value of several lines can fill
# more than one block.
csv.field_size_limit(4 * LINE_LIMIT)


class Fault(NamedTuple):
    """A line number, counted from 1, and what is wrong in that line."""

    line: int
    what: str


def csv_header(path: Path, form: FileForm, wanted: Sequence[str] = ()) -> tuple[list[str], str]:
    """Return the column names in the first row, and the delimiter, see FileForm.  An empty file has no names.

    Args:
        path: the file.
        form: how the file stores its rows.
        wanted: names by which the delimiter is recognised, if `form` does not give it.

    Raises:
        FileError: the row cannot be read or is not UTF-8.
    """
    marks = form.delimiter or DELIMITERS
    headers: dict[str, list[str]] = {}
    try:
        for mark in marks:
            with text_lines(path, form.encoding) as lines:
                headers[mark] = next(csv.reader(lines, delimiter=mark), [])
            if set(map(cleaned, wanted)) <= set(map(cleaned, headers[mark])):
                break
        else:
            # A column is missing.  The longest header tells most about the file.
            mark = max(headers, key=lambda mark: len(headers[mark]))
    except (TextFault, csv.Error) as error:
        raise FileError(f"{path}, line 1: {one_line(error)}") from error
    if any(map(_undecodable, headers[mark])):
        raise FileError(f"{path}, line 1: the header is not UTF-8 text{_ADVICE}")
    return headers[mark], mark


def csv_line(path: Path, row: int, form: FileForm) -> int:
    """Return the line number where a data row, counted from 0, ends.  Empty lines do not count as rows."""
    with text_lines(path, form.encoding) as lines:
        reader = csv.reader(lines, delimiter=form.delimiter or ",")
        next(itertools.islice(filter(None, reader), row + 1, None), None)
        return reader.line_num


def csv_fault(path: Path, columns: Sequence[str], form: FileForm) -> Fault | None:
    """Return the first row of a wrong length, with text that is not UTF-8, or with an open quote; else None."""
    start = 1
    try:
        with text_lines(path, form.encoding) as lines:
            reader = csv.reader(lines, strict=True, delimiter=form.delimiter or ",")
            header = next(reader)
            wanted = [header.index(name) for name in columns]
            for row in reader:
                if row and len(row) != len(header):
                    return Fault(reader.line_num, f"the row has {len(row)} values, the header has {len(header)}")
                for name, at in zip(columns, wanted, strict=True):
                    if row and _undecodable(row[at]):
                        return Fault(reader.line_num, f"column {name!r} is not UTF-8 text{_ADVICE}")
                start = reader.line_num + 1
    except csv.Error as error:
        return Fault(start, f"a quoted value is not closed or not followed by a delimiter ({error})")
    except TextFault as error:
        return Fault(start, str(error))
    return None


def json_line(path: Path, row: int, form: FileForm) -> int:
    """Return the line number of a record, where records are counted from 0.  Empty lines do not count as records."""
    with text_lines(path, form.encoding) as lines:
        full = (number for number, line in enumerate(lines, 1) if line.strip())
        return next(itertools.islice(full, row, None), 1)


def json_fault(path: Path, columns: Sequence[str], form: FileForm) -> Fault | None:
    """Return the first line that is no JSON object, or where the type of a column changes; else None."""
    kinds: dict[str, str] = {}
    for number, record in json_records(path, form):
        if isinstance(record, str):
            return Fault(number, record)
        for name in columns:
            value = record.get(name)
            kind = type(value).__name__
            before = kinds.setdefault(name, kind) if value is not None else kind
            if before != kind and not {before, kind} <= {"int", "float"}:
                return Fault(number, f"column {name!r} is {value!r} ({kind}), before it was {kinds[name]}")
    return None


def json_records(path: Path, form: FileForm) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the number of each line, and its object or what is wrong with the line.  Empty lines are left out."""
    number = 0
    try:
        with text_lines(path, form.encoding) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _record(line)
    except TextFault as error:
        yield number + 1, str(error)


def parsed_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is no JSON, or is nested too deeply.  The message says where.
    """
    if _undecodable(text):
        raise ValueError(f"not UTF-8 text{_ADVICE}")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at character {error.pos + 1})") from error
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not JSON ({one_line(error)})") from error


def _record(line: str) -> dict[str, Any] | str:
    """Return the object on a line, or say what is wrong with the line."""
    try:
        record = parsed_json(line)
    except ValueError as error:
        return str(error)
    return record if isinstance(record, dict) else f"not a JSON object but {line.strip()[:40]}"


def _undecodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
