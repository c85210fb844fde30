"""Write tables to files.  A failed write leaves no partial file."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from crowdml.files.form import FileError
from crowdml.files.formats import ending
from crowdml.support.whole_file import whole_file

STDOUT = "-"
"""As a file name: write CSV to standard output."""


def check_writable(path: str | Path) -> None:
    """Raise FileError if a table cannot be written to the path.  Call this before long work."""
    if str(path) == STDOUT:
        return
    target = Path(path)
    ending(target)
    if target.is_dir():
        raise FileError(f"{target}: is a folder")
    if not os.access(target.parent, os.W_OK):
        reason = "cannot be written to" if target.parent.is_dir() else "does not exist"
        raise FileError(f"{target}: the folder {target.parent} {reason}")


def write_tables(tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table to its file, in the format of the ending (.csv, .csv.gz, .parquet, .jsonl, .jsonl.gz).

    All tables first go to temporary files, which replace the targets at the end.  A failed write leaves the old files.

    Raises:
        FileError: an ending is unknown, a folder is missing, or a write fails.
    """
    for path in tables:
        check_writable(path)
    try:
        with ExitStack() as files:
            for path, frame in tables.items():
                if path != STDOUT:
                    temporary = files.enter_context(whole_file(path))
                    _write(temporary, ending(Path(path)), frame, packed=path.endswith(".gz"))
            if STDOUT in tables:
                _write_csv(sys.stdout.buffer, tables[STDOUT])
    except OSError as error:
        raise FileError(f"{', '.join(map(str, tables))}: cannot be written: {error.strerror or error}") from error


def _write(path: Path, form: str, frame: pd.DataFrame, *, packed: bool) -> None:
    if form == ".parquet":
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
        return
    with pa.CompressedOutputStream(str(path), "gzip") if packed else pa.OSFile(str(path), "wb") as out:
        if form == ".csv":
            _write_csv(out, frame)
        else:
            _write_json(out, frame)


def _write_csv(out: IO[bytes] | pa.NativeFile, frame: pd.DataFrame) -> None:
    """Write CSV, with quotes only where a value needs them."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(table.column_names)
    out.write(header.getvalue().encode())
    text = (c for c in table.columns if pa.types.is_string(c.type) or pa.types.is_large_string(c.type))
    quotes = "needed" if any(pc.any(pc.match_substring_regex(c, r'[",\r\n]')).as_py() for c in text) else "none"
    pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(include_header=False, quoting_style=quotes))


def _write_json(out: pa.NativeFile, frame: pd.DataFrame) -> None:
    n_rows = 1 << 18  # write block by block, because pandas builds the whole text in memory
    for start in range(0, len(frame), n_rows):
        block = frame.iloc[start : start + n_rows]
        out.write(block.to_json(orient="records", lines=True, force_ascii=False, double_precision=15).encode())
