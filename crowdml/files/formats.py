"""Stream columns of a CSV, JSON or Parquet file as dictionary-encoded batches.

A batch stores each distinct value once, and four bytes per row.  Values that would not fit in memory as Python objects
fit in this form.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from crowdml.files.exports import ROWS, Row, layout_hint, records
from crowdml.files.faults import (
    Fault,
    csv_fault,
    csv_header,
    csv_line,
    json_fault,
    json_line,
    json_records,
)
from crowdml.files.form import FileError, FileForm, some_names
from crowdml.files.plain_values import plain
from crowdml.files.text_stream import (
    Progress,
    TextFault,
    TextStream,
    check_regular,
    line_blocks,
    one_line,
    record_blocks,
)
from crowdml.files.wide import WideBlock, melted
from crowdml.support.look_alikes import cleaned

logger = logging.getLogger(__name__)

ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
"""The endings of tables that can be read."""
OUTPUT_ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")
"""The endings of tables that can be written."""

_BATCH_ROWS = 1 << 20
_TEXT = pa.dictionary(pa.int32(), pa.string())
_JSON_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
_WIDE_WHOLE = pa.decimal128(38, 0)

Batches = Iterator[list[pa.DictionaryArray]]


@dataclass(frozen=True)
class Part:
    """A file of a table, the wanted columns, and how the file stores its rows.

    For the layouts "wide", "label-studio" and "doccano", the columns are the items, the workers and the labels.
    """

    path: Path
    columns: tuple[str, ...]
    form: FileForm

    def __str__(self) -> str:
        return str(self.path)


def ending(path: Path, endings: Sequence[str] = ENDINGS) -> str:
    """Return the ending of a file, without `.gz`.  The ending tells the format.

    Raises:
        FileError: the ending is not among `endings`.
    """
    for known in endings:
        if path.name.lower().endswith(known):
            return known.removesuffix(".gz")
    advice = "; save the sheet as CSV" if path.suffix.lower() in (".xlsx", ".xls", ".ods") else ""
    raise FileError(f"{path}: the ending must be one of {', '.join(endings)}{advice}")


def parts(path: Path, columns: Sequence[str], form: FileForm) -> list[Part]:
    """Return the file itself, or the files in a folder, sorted by name.

    In a folder, files of other endings and files whose name begins with a dot are ignored.

    Raises:
        FileError: the path is neither a file nor a folder, the ending is unknown, or the folder holds no files that can
            be read, or files of several formats.
    """
    if not path.is_dir():
        check_regular(path)
        ending(path)
        return [Part(path, tuple(columns), form)]
    found = sorted(
        part
        for part in path.rglob("*")
        if part.name.lower().endswith(ENDINGS) and not part.name.startswith(".") and part.is_file()
    )
    if not found:
        raise FileError(f"{path}: the folder holds no {', '.join(ENDINGS)} files")
    formats = sorted({ending(part) for part in found})
    if len(formats) > 1:
        raise FileError(f"{path}: the folder holds {' and '.join(formats)} files; keep the files of one format")
    return [Part(part, tuple(columns), form) for part in found]


def batches(part: Part, progress: Progress | None = None) -> Batches:
    """Yield the wanted columns of one file, batch by batch, as one array per column.

    CSV values stay text.  The values of other formats keep their types.

    Raises:
        FileError: a column is missing or occurs twice, or the file is malformed.  The message says where.
    """
    try:
        if part.form.layout == "wide":
            for block in _wide(part, progress):
                yield block.columns
        else:
            yield from _columns(part, progress)
    except TextFault as error:
        raise FileError(f"{part}: {error}") from error
    except (pa.ArrowException, OSError, EOFError, OverflowError, MemoryError, UnicodeError) as error:
        raise FileError(f"{part}: cannot be read: {one_line(error)}") from error


def place(part: Part, row: int) -> str:
    """Return the text that names the file and the position of a data row, counted from 0."""
    if part.form.layout == "wide":
        for block in _wide(part, None):
            if row < len(block.rows):
                worker = block.columns[1][row].as_py()
                source = replace(part, form=replace(part.form, layout="long", worker_columns=()))
                return f"{place(source, block.n_before + int(block.rows[row]))}, column {worker!r}"
            row -= len(block.rows)
    form = ending(part.path)
    if form == ".parquet":
        return f"{part}, row {row + 1}"
    if form == ".csv":
        return f"{part}, line {csv_line(part.path, row, _csv_form(part)[1])}"
    if form == ".jsonl" and part.form.layout == "long":
        return f"{part}, line {json_line(part.path, row, part.form)}"
    return f"{part}, {_rows(part)[row].where}"


def _columns(part: Part, progress: Progress | None) -> Batches:
    """Yield the wanted columns of a file in long form, or of an export."""
    form = ending(part.path)
    if form == ".json" or part.form.layout in ("label-studio", "doccano"):
        return _json_rows(part)
    return {".csv": _csv, ".jsonl": _json, ".parquet": _parquet}[form](part, progress)


def _csv(part: Part, progress: Progress | None) -> Batches:
    for table in csv_tables(part, _TEXT, progress):
        for batch in table.to_batches():
            yield [_encoded(part, name, values) for name, values in zip(part.columns, batch.columns, strict=True)]


def csv_tables(part: Part, kind: pa.DataType, progress: Progress | None = None) -> Iterator[pa.Table]:
    """Yield the wanted columns of a CSV file, block by block, with values of one type.

    Raises:
        FileError: a column is missing or occurs twice, the file is malformed, or a value is not of the type.
    """
    header, form = _csv_form(part)
    columns = _found(part, header)
    mark = form.delimiter or ","
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True, delimiter=mark)
    convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(columns, kind), include_columns=columns)
    names = None  # the first block has the header
    with TextStream(part.path, form.encoding, progress) as source:
        _tell_guess(part, source)
        try:
            for block in record_blocks(source, mark):
                # The streaming reader of pyarrow can wait for itself for ever, because its thread may drop the last
                # reference to the reader.  A reader of one block in memory has no such thread.
                read = pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names)
                yield pyarrow.csv.read_csv(
                    cast("IO[bytes]", pa.BufferReader(block)),
                    read_options=read,
                    parse_options=parse,
                    convert_options=convert,
                )
                names = header
        except (pa.ArrowInvalid, TextFault) as error:
            raise _at(part, csv_fault(part.path, columns, form), error) from error


def _csv_form(part: Part) -> tuple[list[str], FileForm]:
    """Return the names in the header, and the form with its delimiter."""
    # In a wide file, the workers may be all other columns, whose names nobody gave.
    wanted = (*part.columns[:1], *part.form.worker_columns) if part.form.layout == "wide" else part.columns
    header, mark = csv_header(part.path, part.form, wanted)
    if not header:
        raise FileError(f"{part}: the file is empty")
    return header, replace(part.form, delimiter=mark)


def _json(part: Part, progress: Progress | None) -> Batches:
    first = _first_record(part)
    columns = _found(part, list(first), layout_hint(first))
    schema = pa.schema([(name, _json_type(part, name, _first_value(part, name, first))) for name in columns])
    parse = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    n_read = 0
    with TextStream(part.path, part.form.encoding, progress) as source:
        _tell_guess(part, source)
        try:
            for block in line_blocks(source):
                if block.isspace():
                    continue
                # `csv_tables` says why the streaming reader of pyarrow is not used.
                read = pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
                table = pyarrow.json.read_json(
                    cast("IO[bytes]", pa.BufferReader(block)), read_options=read, parse_options=parse
                )
                for batch in table.to_batches():
                    yield [_encoded(part, name, batch.column(name)) for name in columns]
                    n_read += len(batch)
            return
        except (pa.ArrowInvalid, TextFault) as error:
            fault = json_fault(part.path, columns, part.form)
            if fault or not isinstance(error, pa.ArrowInvalid):
                raise _at(part, fault, error) from error
    # pyarrow has failed at a number of another type, such as 1.5 after 1, or above 64 bits.  Python reads such numbers.
    yield from _json_rows(part, n_read)


def _json_rows(part: Part, n_before: int = 0) -> Batches:
    """Yield the rows of a JSON file after the first `n_before` rows."""
    rows = _rows(part)[n_before:]
    yield [
        _encoded(part, name, _json_array(part, name, [row.values[at] for row in rows], rows))
        for at, name in enumerate(part.columns)
    ]


def _rows(part: Part) -> list[Row]:
    """Return the rows of a JSON file or an export."""
    if ending(part.path) not in (".json", ".jsonl"):
        raise FileError(f"{part}: a {part.form.layout} export is a .json or .jsonl file")
    columns: Sequence[str] = part.columns
    if part.form.layout == "long":
        first = _first_record(part)
        columns = _found(part, list(first), layout_hint(first))
    return list(ROWS[part.form.layout](part.path, columns, part.form))


def _first_record(part: Part) -> dict[str, Any]:
    for _, record in records(part.path, part.form):
        return record
    raise FileError(f"{part}: the file is empty")


def _parquet(part: Part, progress: Progress | None) -> Batches:
    with pq.ParquetFile(part.path) as opened:
        schema = opened.schema_arrow
        columns = _found(part, schema.names)
        n_rows = opened.metadata.num_rows
        text = [name for name in columns if pa.types.is_string(schema.field(name).type)]
    with pq.ParquetFile(part.path, read_dictionary=text) as opened:
        n_read = 0
        for batch in opened.iter_batches(_BATCH_ROWS, columns=columns):
            yield [_encoded(part, name, batch.column(name)) for name in columns]
            n_read += len(batch)
            if progress:
                progress(n_read, n_rows)


def _wide(part: Part, progress: Progress | None) -> Iterator[WideBlock]:
    """Yield the annotations of a wide file, block by block; leave out blocks without annotations."""
    names, form = column_names(part)
    workers = part.form.worker_columns or tuple(name for name in names if name.strip() != part.columns[0])
    if not workers:
        raise FileError(f"{part}: a wide file needs a column per worker; the file has only {some_names(names)}")
    shown = [name.strip() for name in workers]
    name, times = Counter(shown).most_common(1)[0]
    if times > 1:
        raise FileError(f"{part}: column {name!r} occurs {times} times")
    source = Part(part.path, (part.columns[0], *workers), replace(form, layout="long", worker_columns=()))
    n_before = 0
    # In JSON lines, the first record need not have a label of every worker, so the fast reader cannot know the types.
    arrays_of = _json_rows(source) if ending(part.path) == ".jsonl" else _columns(source, progress)
    for arrays in arrays_of:
        try:
            block = melted(arrays, shown, n_before)
        except FileError as error:
            raise FileError(f"{part}: {error}") from error
        if len(block.rows):
            yield block
        n_before += len(arrays[0])


def column_names(part: Part) -> tuple[list[str], FileForm]:
    """Return the names of all columns of a file, and its form with the delimiter."""
    form = ending(part.path)
    if form == ".csv":
        return _csv_form(part)
    if form == ".parquet":
        check_regular(part.path)
        return list(pq.read_schema(part.path).names), part.form
    names = dict.fromkeys(name for _, record in records(part.path, part.form) for name in record)
    return list(names), part.form


def _encoded(part: Part, name: str, values: Any) -> pa.DictionaryArray:
    """Return the dictionary-encoded values, as numbers, truth values or text; the order of categories is kept."""
    if pa.types.is_nested(values.type):
        raise FileError(f"{part}: column {name!r} holds {values.type}; ids and labels must be text or numbers")
    if pa.types.is_decimal32(values.type) or pa.types.is_decimal64(values.type):
        # pyarrow cannot number these types.
        values = values.cast(pa.decimal128(values.type.precision, values.type.scale))
    coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    coded.dictionary.validate(full=True)  # only the CSV reader checks that text is UTF-8
    distinct = plain(coded.dictionary)
    return pa.DictionaryArray.from_arrays(coded.indices.cast(pa.int32()), distinct, ordered=coded.type.ordered)


def _first_value(part: Part, name: str, first: dict[str, Any]) -> object:
    """Return the first value of a column that is not null, or None."""
    if first[name] is not None:
        return first[name]
    there = (record for _, record in json_records(part.path, part.form) if isinstance(record, dict))
    return next((value for record in there if (value := record.get(name)) is not None), None)


def _json_type(part: Part, name: str, value: object) -> pa.DataType:
    if value is None:
        return pa.string()
    if type(value) not in _JSON_TYPES:
        raise FileError(f"{part}: column {name!r} holds {value!r}; ids and labels must be text or numbers")
    return _JSON_TYPES[type(value)]


def _json_array(part: Part, name: str, values: Sequence[Any], rows: Sequence[Row]) -> pa.Array:
    """Return the values of a column, which have one type or are None."""
    kind: type | None = None
    for value, row in zip(values, rows, strict=True):
        if value is None:
            continue
        if type(value) not in _JSON_TYPES:
            raise FileError(f"{part}, {row.where}: {name!r} is {value!r}; ids and labels must be text or numbers")
        kind = kind or type(value)
        if type(value) is not kind and not {type(value), kind} <= {int, float}:
            given, before = type(value).__name__, kind.__name__
            raise FileError(f"{part}, {row.where}: {name!r} is {value!r} ({given}), before it was {before}")
    if kind in (int, float):
        return _number_array(part, name, values)
    return pa.array(values, _JSON_TYPES[kind or str])


def _number_array(part: Part, name: str, values: Sequence[Any]) -> pa.Array:
    given = [value for value in values if value is not None]
    if any(isinstance(value, float) for value in given):
        if any(isinstance(value, int) and int(float(value)) != value for value in given):
            raise FileError(f"{part}: column {name!r} mixes fractions with whole numbers of more than 53 bits")
        return pa.array(values, pa.float64())
    low, high = min(given), max(given)
    return pa.array(values, pa.int64() if low >= -(2**63) and high < 2**63 else _WIDE_WHOLE)


def _found(part: Part, there: Sequence[str], hint: str = "") -> list[str]:
    """Return the wanted columns as the file writes them, possibly with other blanks or invisible characters.

    Raises:
        FileError: a column is missing or occurs twice.
    """
    by_form: dict[str, list[str]] = {}
    for name in there:
        by_form.setdefault(cleaned(name), []).append(name)
    wanted, found = set(part.columns), []
    for name in part.columns:
        alike = by_form.get(cleaned(name), [])
        if name in alike and wanted.issuperset(alike):
            alike = [other for other in alike if other == name]
        if len(alike) > 1:
            raise FileError(f"{part}: column {name!r} occurs {len(alike)} times")
        if not alike:
            raise FileError(
                f"{part}: column {name!r} is missing; the file has {some_names(there)}{hint or _wide_hint(part, there)}"
            )
        found += alike
    return found


def _wide_hint(part: Part, there: Sequence[str]) -> str:
    """Return advice if a file seems wide: it has the items and two or more other columns, but no workers or labels."""
    named = {name.strip() for name in there}
    is_wide = (
        len(part.columns) == 3 and len(named) > 2 and [name in named for name in part.columns] == [True, False, False]
    )
    return "; if each worker has a column, read the file with --answers-format wide" if is_wide else ""


def _tell_guess(part: Part, source: TextStream) -> None:
    if source.guessed:
        # This is a warning, because warnings appear without logging settings.
        logger.warning("%s: not UTF-8 text; read as %s; if that is wrong, give its encoding", part, source.encoding)


def _at(part: Part, fault: Fault | None, error: Exception | None = None) -> FileError:
    if fault is None:
        return FileError(f"{part}: cannot be read: {one_line(error) if error else 'unknown fault'}")
    return FileError(f"{part}, line {fault.line}: {fault.what}")
