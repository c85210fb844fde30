"""Write tables to files.  A failed write leaves no partial file."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from crowdml.files.form import FileError
from crowdml.files.formats import OUTPUT_ENDINGS, ending
from crowdml.files.plain_values import plain_frame
from crowdml.files.text_stream import one_line
from crowdml.support.whole_file import whole_file

STDOUT = "-"
"""As a file name: write CSV to standard output."""


_QUOTED = r'[",\r\n]'  # values that CSV puts in quotes
_FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"


def check_writable(path: str | Path, endings: Sequence[str] = OUTPUT_ENDINGS) -> None:
    """Raise FileError if a file with one of the endings cannot be written to the path.  Call this before long work."""
    if str(path) == STDOUT:
        return
    target = Path(path)
    ending(target, endings)
    if target.is_dir():
        raise FileError(f"{target}: is a folder")
    if target.exists() and not target.is_file():
        raise FileError(f"{target}: is a pipe, a socket or a device; only a regular file can be replaced")
    if not os.access(target.parent, os.W_OK):
        reason = "cannot be written to" if target.parent.is_dir() else "does not exist"
        raise FileError(f"{target}: the folder {target.parent} {reason}")


def renamed(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the frame with new names of columns.

    If another column already has a new name, the other column gets an underscore.  For example, `doubt` becomes
    `doubt_` if the labels are renamed to `doubt`.
    """
    names = {old: new for old, new in names.items() if old in frame}
    taken = set(names.values())
    columns = []
    for old in frame.columns:
        new = names.get(old, old)
        while old not in names and new in taken:
            new += "_"
        taken.add(new)
        columns.append(new)
    return frame.set_axis(columns, axis="columns")


def write_tables(tables: Mapping[str, pd.DataFrame], *, formula_safe: bool = False) -> None:
    """Write each table to its file, in the format of the ending (.csv, .csv.gz, .parquet, .jsonl, .jsonl.gz).

    All tables first go to temporary files, which replace the targets at the end.  A failed write leaves the old files.

    Args:
        tables: the tables by path; the path "-" is CSV on standard output.
        formula_safe: in CSV, put an apostrophe before text that a spreadsheet would take for a formula: text that
            begins with =, +, -, @, a tab or a line end.  Such text does not read back unchanged.

    Raises:
        FileError: an ending is unknown, a folder is missing, a table has two columns of one name, or a write fails.
    """
    tables = {path: plain_frame(frame) for path, frame in tables.items()}
    for path, frame in tables.items():
        check_writable(path)
        if not frame.columns.is_unique:
            twice = frame.columns[frame.columns.duplicated()][0]
            raise FileError(f"{path}: the table has two columns named {twice!r}")
    try:
        with ExitStack() as files:
            for path, frame in tables.items():
                if path != STDOUT:
                    temporary = files.enter_context(whole_file(path))
                    _write(temporary, Path(path), frame, formula_safe=formula_safe)
            if STDOUT in tables:
                _write_csv(sys.stdout.buffer, tables[STDOUT], formula_safe=formula_safe)
    except BrokenPipeError:
        raise
    except (OSError, pa.ArrowException) as error:
        reason = (isinstance(error, OSError) and error.strerror) or one_line(error)
        raise FileError(f"{', '.join(map(str, tables))}: cannot be written: {reason}") from error


def _write(temporary: Path, target: Path, frame: pd.DataFrame, *, formula_safe: bool) -> None:
    form = ending(target, OUTPUT_ENDINGS)
    if form == ".parquet":
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), temporary)
        return
    packed = target.name.lower().endswith(".gz")
    with pa.CompressedOutputStream(str(temporary), "gzip") if packed else pa.OSFile(str(temporary), "wb") as out:
        if form == ".csv":
            _write_csv(out, frame, formula_safe=formula_safe)
        else:
            _write_json(out, frame)


def _write_csv(out: IO[bytes] | pa.NativeFile, frame: pd.DataFrame, *, formula_safe: bool) -> None:
    """Write CSV, with quotes only where a value needs them."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    # Categories become text, because the search for values that need quotes looks at text.
    plain = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in table.columns]
    table = pa.table(plain, names=table.column_names)
    if formula_safe:
        table = _formula_safe(table)
    # The csv module would leave a carriage return without quotes.
    header = [
        f'"{name.replace(chr(34), chr(34) * 2)}"' if re.search(_QUOTED, name) else name for name in table.column_names
    ]
    out.write(f"{','.join(header)}\n".encode())
    text = (column for column in table.columns if _is_text(column.type))
    quotes = "needed" if any(pc.any(pc.match_substring_regex(c, _QUOTED)).as_py() for c in text) else "none"
    pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(include_header=False, quoting_style=quotes))


def _formula_safe(table: pa.Table) -> pa.Table:
    """Return the table with an apostrophe before each text, and each column name, that looks like a formula."""
    columns = [pc.replace_substring_regex(c, _FORMULA, r"'\0") if _is_text(c.type) else c for c in table.columns]
    names = [f"'{name}" if re.match(_FORMULA, name) else name for name in table.column_names]
    return pa.table(columns, names=names)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _write_json(out: pa.NativeFile, frame: pd.DataFrame) -> None:
    """Write one JSON object per row.  pandas would cut numbers to 15 digits, so that two ids could become one."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    keys = [
        f"{',' if at else '{'}{json.dumps(name, ensure_ascii=False)}:" for at, name in enumerate(table.column_names)
    ]
    for batch in table.to_batches(max_chunksize=1 << 18):
        parts: list[Any] = [
            part for key, column in zip(keys, batch.columns, strict=True) for part in (key, _json_words(column))
        ]
        parts += ["}\n", ""]  # the end of a line, and what stands between two parts
        lines = pc.binary_join_element_wise(*parts)
        out.write("".join(lines.to_pylist()).encode())


def _json_words(column: Any) -> Any:
    """Return the JSON text of each value; NaN and infinity become null."""
    if pa.types.is_floating(column.type):
        words = pc.if_else(pc.is_finite(column), column.cast(pa.string()), None)
        # A reader takes the type of a column from its first value.
        words = pc.replace_substring_regex(words, "^(-?[0-9]+)$", r"\1.0")
    elif pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        words = column.cast(pa.string())
    else:
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        distinct = coded.dictionary.cast(pa.string())
        if pc.any(pc.match_substring_regex(distinct, r'["\\\x00-\x1f]')).as_py():
            quoted = pa.array([json.dumps(text, ensure_ascii=False) for text in distinct.to_pylist()], pa.string())
        else:
            quoted = pc.binary_join_element_wise('"', distinct, '"', "")
        words = quoted.take(coded.indices)
    return words.fill_null("null")
