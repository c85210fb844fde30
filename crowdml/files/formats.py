"""Stream columns of a CSV, JSON-lines or Parquet file as dictionary-encoded batches.

A batch stores each distinct value once, and four bytes per row.  Values that would not fit in memory as Python objects
fit in this form.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from crowdml.files.faults import Fault, FileError, csv_fault, csv_header, csv_line, json_fault, json_first, json_line

Progress = Callable[[int, int], None]
"""Called with the amount read and the total amount, in bytes (text files) or rows (Parquet)."""

ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")

_BLOCK = 1 << 22  # bytes of text; the CSV reader reads up to 32 blocks ahead
_BATCH_ROWS = 1 << 20
_TEXT = pa.dictionary(pa.int32(), pa.string())
_JSON_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def ending(path: Path) -> str:
    """Return the ending of a file, without `.gz`.  The ending tells the format.

    Raises:
        FileError: the ending is unknown.
    """
    for known in ENDINGS:
        if path.name.lower().endswith(known):
            return known.removesuffix(".gz")
    raise FileError(f"{path}: the ending must be one of {', '.join(ENDINGS)}")


def parts(path: Path) -> list[Path]:
    """Return the file itself, or the Parquet files in a folder, sorted by name.

    Raises:
        FileError: the path does not exist, the folder holds no Parquet files, or the ending is unknown.
    """
    if path.is_dir():
        found = sorted(part for part in path.rglob("*.parquet") if part.is_file())
        if not found:
            raise FileError(f"{path}: the folder holds no .parquet files")
        return found
    if not path.exists():
        raise FileError(f"{path}: no such file")
    ending(path)
    return [path]


def batches(path: Path, columns: Sequence[str], progress: Progress | None = None) -> Iterator[list[pa.DictionaryArray]]:
    """Yield the wanted columns of one file, batch by batch, as one array per column.

    CSV values stay text.  The values of other formats keep their types.

    Raises:
        FileError: a column is missing or occurs twice, or the file is malformed.  The message says where.
    """
    read = {".csv": _csv, ".jsonl": _json, ".parquet": _parquet}[ending(path)]
    try:
        yield from read(path, columns, progress)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise FileError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error


def place(path: Path, row: int) -> str:
    """Return the text that names the file and the position of a data row, counted from 0."""
    form = ending(path)
    if form == ".parquet":
        return f"{path}, row {row + 1}"
    return f"{path}, line {csv_line(path, row) if form == '.csv' else json_line(path, row)}"


def _csv(path: Path, columns: Sequence[str], progress: Progress | None) -> Iterator[list[pa.DictionaryArray]]:
    header = csv_header(path)
    if not header:
        raise FileError(f"{path}: the file is empty")
    _check_columns(path, columns, header)
    with _CountedBytes(path, progress) as source:
        try:
            reader = pyarrow.csv.open_csv(
                cast("IO[bytes]", source),
                read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, _TEXT), include_columns=list(columns)
                ),
            )
            for batch in reader:
                yield [_encoded(path, name, batch.column(name)) for name in columns]
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise _at(path, csv_fault(path, columns), error) from error
    # If a quote is not closed, pyarrow reads the rest of the file as one value and raises no error.
    if source.n_quotes % 2 and (fault := csv_fault(path, columns)):
        raise _at(path, fault)


def _json(path: Path, columns: Sequence[str], progress: Progress | None) -> Iterator[list[pa.DictionaryArray]]:
    first = json_first(path)
    if not first:
        raise FileError(f"{path}: the file is empty")
    _check_columns(path, columns, list(first))
    schema = pa.schema([(name, _json_type(path, name, first[name])) for name in columns])
    with _CountedBytes(path, progress) as source:
        try:
            reader = pyarrow.json.open_json(
                cast("IO[bytes]", source),
                read_options=pyarrow.json.ReadOptions(block_size=_BLOCK),
                parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            )
            for batch in reader:
                yield [_encoded(path, name, batch.column(name)) for name in columns]
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise _at(path, json_fault(path, columns), error) from error


def _parquet(path: Path, columns: Sequence[str], progress: Progress | None) -> Iterator[list[pa.DictionaryArray]]:
    with pq.ParquetFile(path) as opened:
        schema = opened.schema_arrow
        _check_columns(path, columns, schema.names)
        n_rows = opened.metadata.num_rows
        text = [name for name in columns if pa.types.is_string(schema.field(name).type)]
    with pq.ParquetFile(path, read_dictionary=text) as opened:
        n_read = 0
        for batch in opened.iter_batches(_BATCH_ROWS, columns=list(columns)):
            yield [_encoded(path, name, batch.column(name)) for name in columns]
            n_read += len(batch)
            if progress:
                progress(n_read, n_rows)


def _encoded(path: Path, name: str, values: Any) -> pa.DictionaryArray:
    """Return the dictionary-encoded values.  Whole numbers, other numbers and text each get one type for all files."""
    if pa.types.is_nested(values.type):
        raise FileError(f"{path}: column {name!r} holds {values.type}; ids and labels must be text or numbers")
    coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    coded.dictionary.validate(full=True)  # only the CSV reader checks that text is UTF-8
    distinct = pc.cast(coded.dictionary, _common_type(coded.type.value_type))
    return pa.DictionaryArray.from_arrays(coded.indices.cast(pa.int32()), distinct)


def _common_type(given: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(given):
        return pa.int64()
    if pa.types.is_floating(given):
        return pa.float64()
    return pa.string() if pa.types.is_large_string(given) or pa.types.is_string_view(given) else given


def _json_type(path: Path, name: str, value: object) -> pa.DataType:
    if value is None:
        raise FileError(f"{path}, line 1: column {name!r} is empty")
    if type(value) not in _JSON_TYPES:
        raise FileError(f"{path}: column {name!r} holds {value!r}; ids and labels must be text or numbers")
    return _JSON_TYPES[type(value)]


def _check_columns(path: Path, columns: Sequence[str], there: Sequence[str]) -> None:
    for name in columns:
        if name not in there:
            raise FileError(f"{path}: column {name!r} is missing; the file has {', '.join(there)}")
        if there.count(name) > 1:
            raise FileError(f"{path}: column {name!r} occurs {there.count(name)} times")


def _at(path: Path, fault: Fault | None, error: Exception | None = None) -> FileError:
    if fault is None:
        return FileError(f"{path}: cannot be read: {' '.join(str(error).split())}")
    return FileError(f"{path}, line {fault.line}: {fault.what}")


class _CountedBytes(io.RawIOBase):
    """The bytes of a file, decompressed if the name ends in .gz.  Reports progress, and counts double quotes."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self._file: IO[bytes] = path.open("rb")
        self._stream = pa.CompressedInputStream(self._file, "gzip") if path.suffix == ".gz" else self._file
        self._progress = progress
        self._size = path.stat().st_size
        self.n_quotes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.n_quotes += data.count(b'"')
        if self._progress:
            self._progress(self._file.tell(), self._size)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()
