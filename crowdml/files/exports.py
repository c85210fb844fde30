"""Read JSON: plain records, and the exports of the labelling tools Label Studio and doccano."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crowdml.files.faults import json_records, parsed_json
from crowdml.files.form import FileError, FileForm, some_names
from crowdml.files.text_stream import TextFault, TextStream

DOCUMENT_LIMIT = 1 << 27
"""The greatest size of a .json file, unpacked, in bytes.  Such a file is one value, which is read as a whole."""

_TASK, _LABEL = "task", "label"  # the default names of columns; exports do not use these names

Record = dict[str, Any]


class Row(NamedTuple):
    """The place of a row in its file, and the value of each wanted column.  None is an empty value."""

    where: str
    values: tuple[Any, ...]


def records(path: Path, form: FileForm) -> Iterator[tuple[str, Record]]:
    """Yield the place and the content of each JSON object in a .json or .jsonl file.

    A .json file holds one list of objects, one object, or one object per line.

    Raises:
        FileError: the file is not JSON, is too large, or holds other values than objects.
    """
    if ".jsonl" in path.suffixes[-2:]:
        yield from _lines(path, form)
        return
    text = _document(path, form)
    try:
        parsed = parsed_json(text)
    except ValueError as error:
        if not text.lstrip().startswith("{"):
            raise FileError(f"{path}: {error}") from error
        yield from _lines(path, form)
        return
    for number, record in enumerate(parsed if isinstance(parsed, list) else [parsed], 1):
        if not isinstance(record, dict):
            raise FileError(f"{path}, record {number}: not a JSON object but {str(record)[:40]}")
        yield f"record {number}", record


def long_rows(path: Path, columns: Sequence[str], form: FileForm) -> Iterator[Row]:
    """Yield one row per object.  A key that an object lacks is an empty value."""
    for where, record in records(path, form):
        yield Row(where, tuple(record.get(name) for name in columns))


def label_studio_rows(path: Path, columns: Sequence[str], form: FileForm) -> Iterator[Row]:
    """Yield one row per annotation of a Label Studio export (JSON).

    The task is `id`, or the field of `data` with the name of the column of tasks.  The worker is `completed_by`: the
    e-mail address, or the id.  The label is the choice for the question with the name of the column of labels, or for
    the only question.  Cancelled annotations are left out; an annotation without a choice has an empty label.

    Raises:
        FileError: a field is missing, there are several questions and none has the name of the column, or the answer is
            not a single choice.
    """
    task_column, _, label_column = columns
    found = [(where, task, *part) for where, task in records(path, form) for part in _annotations(path, where, task)]
    questions: dict[str, str] = {}
    for *_, results in found:
        for result in results:
            questions.setdefault(str(result.get("from_name")), str(result.get("type")))
    alone = label_column == _LABEL and len(questions) == 1
    chosen = next(iter(questions)) if alone else label_column
    if questions and chosen not in questions:
        named = some_names([f"{name} ({kind})" for name, kind in questions.items()])
        raise FileError(f"{path}: no question is named {label_column!r}; give the column of labels one of {named}")
    for where, task, worker, results in found:
        label = _label_studio_choice(path, where, [r for r in results if str(r.get("from_name")) == chosen])
        yield Row(where, (_label_studio_task(path, where, task, task_column), worker, label))


def doccano_rows(path: Path, columns: Sequence[str], form: FileForm) -> Iterator[Row]:
    """Yield one row per annotation of a doccano export (JSON lines or JSON) of a text or image classification.

    The task is the field with the name of the column of tasks, or `id`.  The worker is the field with the name of the
    column of workers, or `user` in each of the `annotations`, or the name of the file, because doccano writes one file
    per user.
    The label is the only element of `label`, `labels` or `category`; an empty list is an empty label.

    Raises:
        FileError: a field is missing, or an item has several labels or labelled spans.
    """
    task_column, worker_column, label_column = columns
    user = path.name.split(".")[0]
    for where, record in records(path, form):
        task = record.get(task_column, record.get("id"))
        if task is None:
            raise FileError(f"{path}, {where}: the item has no {task_column!r} and no 'id'")
        if record.get("entities") or record.get("relations"):
            raise FileError(f"{path}, {where}: a sequence labelling (entities); only single labels can be read")
        if isinstance(record.get("annotations"), list):
            yield from _doccano_annotations(path, where, task, record["annotations"])
            continue
        wanted = (_LABEL, "labels", "category") if label_column == _LABEL else (label_column,)
        names = [name for name in wanted if name in record]
        if not names:
            raise FileError(f"{path}, {where}: the item has no {' or '.join(map(repr, wanted))}")
        yield Row(where, (task, record.get(worker_column, user), _doccano_label(path, where, record[names[0]])))


ROWS: Mapping[str, Callable[[Path, Sequence[str], FileForm], Iterator[Row]]] = {
    "long": long_rows,
    "label-studio": label_studio_rows,
    "doccano": doccano_rows,
}
"""The reader of rows for each layout of a JSON file."""


def layout_hint(record: Mapping[str, Any]) -> str:
    """Return advice if a record seems to come from a labelling tool, else no text."""
    if isinstance(record.get("data"), dict) and ("annotations" in record or "completions" in record):
        return "; this seems to be a Label Studio export: read it with --answers-format label-studio"
    if "id" in record and any(isinstance(record.get(name), list) for name in ("label", "labels", "annotations")):
        return "; this seems to be a doccano export: read it with --answers-format doccano"
    return ""


def _lines(path: Path, form: FileForm) -> Iterator[tuple[str, Record]]:
    for number, record in json_records(path, form):
        if isinstance(record, str):
            raise FileError(f"{path}, line {number}: {record}")
        yield f"line {number}", record


def _document(path: Path, form: FileForm) -> str:
    size, blocks = 0, []
    try:
        with TextStream(path, form.encoding, line_limit=2 * DOCUMENT_LIMIT) as stream:
            while block := stream.read():
                size += len(block)
                if size > DOCUMENT_LIMIT:
                    raise TextFault(
                        f"a .json file can have at most {DOCUMENT_LIMIT:,} bytes; "
                        "write larger data as .jsonl, one object per line"
                    )
                blocks.append(block)
    except TextFault as error:
        raise FileError(f"{path}: {error}") from error
    return b"".join(blocks).decode("utf-8", "surrogateescape")


def _annotations(path: Path, where: str, task: Record) -> Iterator[tuple[Any, list[Record]]]:
    """Yield worker and results of each annotation of a Label Studio task.  Leave out cancelled annotations."""
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list) or not isinstance(task.get("data"), dict):
        raise FileError(
            f"{path}, {where}: not a task of a Label Studio export (JSON), which has 'data' and a list of 'annotations'"
        )
    for annotation in annotations:
        results = annotation.get("result") if isinstance(annotation, dict) else None
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            raise FileError(f"{path}, {where}: an annotation has no list of objects 'result'")
        if annotation.get("was_cancelled"):
            continue
        worker = annotation.get("completed_by")
        if isinstance(worker, dict):
            worker = worker.get("email") or worker.get("id")
        if worker is None:
            raise FileError(f"{path}, {where}: an annotation has no 'completed_by', so its worker is unknown")
        # A result without a value, such as a relation between regions, answers no question.
        yield worker, [result for result in results if "from_name" in result]


def _label_studio_task(path: Path, where: str, task: Record, column: str) -> Any:
    value = task["data"].get(column) if column != _TASK else None
    value = task.get(column if column != _TASK and column in task else "id") if value is None else value
    if value is None:
        raise FileError(f"{path}, {where}: the task has no {column!r} and no 'id'")
    return value


def _label_studio_choice(path: Path, where: str, results: Sequence[Record]) -> Any:
    if not results:
        return None
    kind = results[0].get("type")
    if kind != "choices":
        raise FileError(f"{path}, {where}: a task of type {kind!r}; only a single choice (type 'choices') can be read")
    if len(results) > 1:
        raise FileError(f"{path}, {where}: one annotation answers the question {len(results)} times, once per region")
    value = results[0].get("value")
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(choices, list):
        raise FileError(f"{path}, {where}: a result has no list 'choices'")
    return _single(path, where, choices)


def _doccano_annotations(path: Path, where: str, task: Any, annotations: list[Any]) -> Iterator[Row]:
    by_user: dict[str, tuple[Any, list[Any]]] = {}
    for annotation in annotations:
        if not isinstance(annotation, dict) or "user" not in annotation or "label" not in annotation:
            raise FileError(
                f"{path}, {where}: an annotation has no 'user' or no 'label'; only single labels can be read"
            )
        if "start_offset" in annotation:
            raise FileError(f"{path}, {where}: a sequence labelling (spans); only single labels can be read")
        by_user.setdefault(repr(annotation["user"]), (annotation["user"], []))[1].append(annotation["label"])
    for user, labels in by_user.values():
        yield Row(where, (task, user, _single(path, where, labels)))


def _doccano_label(path: Path, where: str, given: Any) -> Any:
    if not isinstance(given, list):
        return given
    if any(isinstance(label, list) for label in given):
        raise FileError(f"{path}, {where}: a sequence labelling (spans); only single labels can be read")
    return _single(path, where, given)


def _single(path: Path, where: str, labels: Sequence[Any]) -> Any:
    """Return the only label, or None if the list is empty."""
    if len(labels) > 1:
        raise FileError(
            f"{path}, {where}: multi-label: {len(labels)} labels ({some_names([str(label) for label in labels])}); "
            "only single labels can be read"
        )
    return labels[0] if labels else None
