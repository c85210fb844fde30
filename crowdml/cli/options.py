"""Options of several commands: files of annotations, methods, and `NAME=VALUE` words."""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from crowdml.aggregation.aggregator import TIES, Aggregator
from crowdml.files import Columns, FileForm, Progress, check_writable, read_crowd, read_labels, read_prior
from crowdml.files.form import LAYOUTS
from crowdml.files.gold_and_history import class_names, true_classes
from crowdml.labels import CrowdLabels, Repeats
from crowdml.methods.from_frames import aggregator
from crowdml.support.names import check_name
from crowdml.support.value_text import texts, typed


def add_input(command: argparse.ArgumentParser) -> None:
    """Add the file of annotations and the options that say how it is read."""
    command.add_argument(
        "input", metavar="ANSWERS",
        help="one row per annotation: .csv, .csv.gz, .jsonl, .json, .parquet, or a folder of files of one format",
    )  # fmt: skip
    add_reading(command)


def add_reading(command: argparse.ArgumentParser) -> None:
    """Add the options that say how a file of annotations is read."""
    columns = command.add_argument_group("input")
    for name in ("task", "worker", "label"):
        columns.add_argument(f"--{name}-column", default=name, metavar="NAME", help=f"default: {name}")
    columns.add_argument(
        "--answers-format", choices=LAYOUTS, metavar="NAME",
        help=f"{', '.join(LAYOUTS)} (default: long, a row per annotation; wide: a row per task, a column per worker)",
    )  # fmt: skip
    columns.add_argument(
        "--worker-columns",
        nargs="+",
        metavar="NAME",
        help="columns of workers in a wide file (default: all but the tasks)",
    )
    columns.add_argument(
        "--delimiter",
        metavar="CHAR",
        help="between the values of CSV answers, or the word tab (default: from the header)",
    )
    columns.add_argument(
        "--encoding", metavar="NAME", help="of text answers, such as cp1252 or utf-16 (default: from the first bytes)"
    )
    columns.add_argument(
        "--classes", nargs="+", metavar="CLASS", help="all classes, in order (default: the labels that occur, sorted)"
    )
    columns.add_argument(
        "--repeats", choices=get_args(Repeats), default="error",
        help="if a worker labelled a task twice: refuse (default), keep the first or the last label, or keep all",
    )  # fmt: skip
    columns.add_argument(
        "--skip-empty", action="store_true", help="leave out rows without a label (default: refuse them)"
    )
    columns.add_argument(
        "--strip", action="store_true",
        help="remove outer blanks and invisible characters from ids and labels, in every file; use Unicode form NFC",
    )  # fmt: skip
    columns.add_argument("--gold", metavar="FILE", help="known labels of some tasks: columns task, label")
    columns.add_argument(
        "--history", metavar="FILE",
        help="earlier answers of the workers: columns worker, truth, label, count, as --confusion writes them",
    )  # fmt: skip


def add_writing(command: argparse.ArgumentParser) -> None:
    """Add the option that says how CSV is written."""
    command.add_argument(
        "--formula-safe", action="store_true",
        help="write CSV text such as =1+1 with an apostrophe, so that a spreadsheet does not run it; "
        "such text does not read back unchanged",
    )  # fmt: skip


def form_of(options: argparse.Namespace) -> FileForm:
    """Return the form of the file of annotations."""
    mark = options.delimiter
    return FileForm(
        options.answers_format or "long",
        tuple(options.worker_columns or ()),
        "\t" if mark in ("tab", "\\t") else mark,
        options.encoding,
    )


def columns_of(options: argparse.Namespace) -> Columns:
    """Return the names of the columns."""
    return Columns(options.task_column, options.worker_column, options.label_column)


def read_input(options: argparse.Namespace, progress: Progress) -> CrowdLabels:
    """Read the annotations by the options of `add_input`."""
    columns = columns_of(options)
    return read_crowd(
        options.input, columns.task, columns.worker, columns.label,
        class_names=None if options.classes is None else typed(options.classes).tolist(),
        repeats=options.repeats, form=form_of(options), gold=options.gold, history=options.history,
        strip=options.strip, skip_empty=options.skip_empty, progress=progress,
    )  # fmt: skip


def add_method_options(command: argparse.ArgumentParser) -> None:
    """Add the options that choose and configure an aggregator."""
    command.add_argument(
        "--method", default="em", metavar="NAME", help="see crowdml methods (default: em, Dawid-Skene)"
    )
    method = command.add_argument_group("method")
    method.add_argument("--ties", choices=TIES, help="how to choose among equally probable classes (default: lowest)")
    method.add_argument("--seed", type=int, metavar="N", help="seed of all random draws (default: 0)")
    method.add_argument(
        "--option", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="options of the method, such as max_iter=50; an unknown name lists all",
    )  # fmt: skip
    method.add_argument(
        "--prior", nargs="+", metavar="P|FILE",
        help="the probability of each class, in order, or a file with columns task, p_<class>, as --out writes them",
    )  # fmt: skip


def configured(method: str, options: argparse.Namespace) -> Aggregator:
    """Return the aggregator with the options of `add_method_options`."""
    return aggregator(method, **method_options(method, options))


def method_options(method: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the given options of a method, each with the type of its default.

    Raises:
        ValueError: an unknown method or option, or a value of the wrong type.
    """
    common = {name: getattr(options, name) for name in ("ties", "seed") if getattr(options, name) is not None}
    if not options.option:
        return common
    defaults = vars(aggregator(method))
    given = named_values(options.option)
    what = f"option of method {method}"
    return common | {
        name: _as_default(name, text, defaults[check_name(what, name, defaults)]) for name, text in given.items()
    }


def check_outputs(paths: Sequence[str], answers: str | None = None) -> None:
    """Raise ValueError if an output cannot be written or would replace the answers, before any work is done."""
    # Two names of one file, such as x.csv and ./x.csv, are one output.
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise ValueError(f"each output needs its own file, got {', '.join(paths)}")
    for path in paths:
        check_writable(path)
        if answers is not None and os.path.realpath(path) == os.path.realpath(answers):
            raise ValueError(f"{path}: the output would replace the answers; choose another name")


def named_values(words: Iterable[str]) -> dict[str, str]:
    """Return NAME=VALUE words as a dictionary; raise ValueError for a word without a name or a value."""
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise ValueError(f"an option is written NAME=VALUE, got {word!r}")
        pairs[name] = value
    return pairs


def plain_value(text: str) -> Any:
    """Return the value of a Python literal, such as a number, tuple or None; return any other text unchanged."""
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text.lower(), text))
    except (ValueError, SyntaxError):
        return text


def prior_of(options: argparse.Namespace, crowd: CrowdLabels) -> NDArray[np.float64] | None:
    """Return the prior of `--prior`: (n_classes,), (n_items, n_classes) or None.

    Raises:
        ValueError: there is not one number per class, or a file lacks a task.
    """
    words = options.prior
    if words is None:
        return None
    names = texts(class_names(crowd))
    if len(words) == 1 and not _is_number(words[0]):
        columns = columns_of(options)
        return read_prior(words[0], crowd, columns.task, columns.label, strip=options.strip)
    if len(words) != len(names) or not all(map(_is_number, words)):
        raise ValueError(
            f"--prior must be one number for each of the {len(names)} classes {', '.join(names)}, "
            f"or one file; got {' '.join(words)}"
        )
    return np.array(words, dtype=np.float64)


def read_truth(options: argparse.Namespace, crowd: CrowdLabels) -> NDArray[np.int64] | None:
    """Return (n_items,) int64 true classes of `--truth`, or None without that option.

    The class is -1 where it is unknown, and for items with a gold label, because the method uses gold labels.  It is
    n_classes for a true label that is no class; a warning counts and names such labels.

    Raises:
        ValueError: no true class is left.
    """
    if options.truth is None:
        return None
    labels = read_labels(options.truth, options.task_column, options.label_column, strip=options.strip)
    truth = true_classes(crowd, labels, options.truth)
    if crowd.gold is not None:
        truth[crowd.gold >= 0] = -1
        if (truth < 0).all():
            raise ValueError(f"{options.truth}: every task with a true label is among the gold labels")
    return truth


def _as_default(name: str, text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    value = plain_value(text)
    kinds = {bool: ("true or false", bool), int: ("a whole number", int), float: ("a number", (int, float))}
    if type(default) in kinds:
        wanted, kind = kinds[type(default)]
        if not isinstance(value, kind) or isinstance(value, bool) != isinstance(default, bool):
            raise ValueError(f"option {name} must be {wanted}, got {text!r}")
    return value


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
