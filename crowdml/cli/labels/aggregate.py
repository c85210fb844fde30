"""Find the true label of each task and the quality of each worker.

The suffix of a file name chooses the format: .csv, .csv.gz, .jsonl or .parquet.

examples:
  crowdml aggregate answers.csv                                        agreement and worst workers of the crowd
  crowdml aggregate answers.csv --method em --out consensus.parquet --workers workers.csv
  crowdml aggregate answers.csv --method glad --gold known.csv --doubtful-labels look_at_these.csv --out labels.csv
  crowdml aggregate answers.csv --compare all --truth truth.csv        all methods side by side
  crowdml aggregate today.csv --history yesterday.csv --confusion tomorrow.csv --out labels.csv
  crowdml aggregate parts/ --engine ray --out consensus/               a crowd larger than memory
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import pandas as pd

from crowdml.aggregation.aggregator import Aggregation
from crowdml.cli.display import Console, speak, step, written
from crowdml.cli.labels import aggregate_on_ray as on_ray
from crowdml.cli.labels import compare
from crowdml.cli.labels.summary import describe_crowd, describe_result
from crowdml.cli.options import (
    add_input,
    add_method_options,
    add_writing,
    check_outputs,
    columns_of,
    configured,
    prior_of,
    read_input,
    read_truth,
)
from crowdml.files import renamed, write_tables
from crowdml.files.frames import MOST_CLASSES, confusion_frame, consensus_frame, doubtful_labels_frame, workers_frame
from crowdml.files.writing import STDOUT
from crowdml.labels import CrowdLabels

TABLES: dict[str, Callable[[CrowdLabels, Aggregation], pd.DataFrame]] = {
    "out": consensus_frame,
    "workers": workers_frame,
    "confusion": confusion_frame,
    "doubtful_labels": doubtful_labels_frame,
}


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_input(command)
    add_method_options(command)
    out = command.add_argument_group("output")
    out.add_argument("--out", metavar="FILE", help="task, label, p_<class> per class, doubt; - for standard output")
    out.add_argument("--workers", metavar="FILE", help="worker, n_labels, quality with standard error and interval")
    out.add_argument("--confusion", metavar="FILE", help="worker, truth, label, probability, count")
    out.add_argument(
        "--doubtful-labels", metavar="FILE", help="the annotations with their probability p_wrong, highest first"
    )
    out.add_argument("--truth", metavar="FILE", help="true labels, to print the accuracy: columns task, label")
    out.add_argument(
        "--compare", nargs="+", metavar="NAME", help="compare several methods, or all, instead of --method"
    )
    add_writing(command)
    place = command.add_argument_group("where to run")
    place.add_argument(
        "--engine", choices=("local", "ray"), default="local",
        help="ray: divide the work among processes of a Ray cluster, for Parquet larger than memory; --out is a folder",
    )  # fmt: skip
    place.add_argument("--address", help="Ray cluster (default: $RAY_ADDRESS, else a running one, else a new one)")
    place.add_argument(
        "--shards", type=int, metavar="N", help="number of processes (default: by the size of the crowd)"
    )


def run(options: argparse.Namespace) -> None:
    """Read the annotations, aggregate, write the tables, and print a summary."""
    if options.engine == "ray":
        on_ray.run(options)
        return
    outputs = {name: path for name in TABLES if (path := getattr(options, name)) is not None}
    check_outputs(list(outputs.values()), options.input)
    console = Console(stderr=STDOUT in outputs.values())
    if options.compare:
        compare.run(options, console)
        return
    method = configured(options.method, options)
    with step(f"reading {options.input}") as progress:
        crowd = read_input(options, progress)
    prior = prior_of(options, crowd)
    truth = read_truth(options, crowd)
    started = time.perf_counter()
    with step(f"aggregating with {options.method}"):
        result = method.fit(crowd, prior)
    seconds = time.perf_counter() - started
    with step("writing"):
        tables = {path: _table(name, crowd, result, options) for name, path in outputs.items()}
        write_tables(tables, formula_safe=options.formula_safe)
    describe_crowd(console, options.input, crowd)
    describe_result(console, options.method, crowd, result, seconds, truth)
    speak(console, written(list(outputs.values())))
    if options.out and crowd.n_classes > MOST_CLASSES:
        speak(
            console,
            f"{options.out} has the probability of each label, but no columns p_<class>, "
            f"because there are more than {MOST_CLASSES:,} classes",
        )


def _table(name: str, crowd: CrowdLabels, result: Aggregation, options: argparse.Namespace) -> pd.DataFrame:
    """Return an output table; tables of tasks and annotations have the column names of the input."""
    frame = TABLES[name](crowd, result)
    if name in ("workers", "confusion"):
        return frame
    columns = columns_of(options)
    return renamed(frame, {"task": columns.task, "worker": columns.worker, "label": columns.label})
