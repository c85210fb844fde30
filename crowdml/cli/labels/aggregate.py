"""`crowdml aggregate`: from a file of annotations to a file of labels."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import pandas as pd
from rich.console import Console

from crowdml.aggregation.aggregator import Aggregation
from crowdml.cli.display import speak, step, written
from crowdml.cli.labels import aggregate_on_ray as on_ray
from crowdml.cli.labels import compare
from crowdml.cli.labels.summary import describe_crowd, describe_result
from crowdml.cli.options import (
    add_input,
    add_method_options,
    check_outputs,
    columns_of,
    configured,
    read_input,
    read_prior,
    read_truth,
)
from crowdml.files import write_tables
from crowdml.files.frames import confusion_frame, consensus_frame, doubtful_labels_frame, workers_frame
from crowdml.files.writing import STDOUT
from crowdml.labels import CrowdLabels

EXAMPLES = """examples:
  crowdml aggregate answers.csv                                        what the crowd is like, its worst workers
  crowdml aggregate answers.csv --method em --out consensus.parquet --workers workers.csv
  crowdml aggregate answers.csv --method glad --gold known.csv --doubtful-labels look_at_these.csv --out labels.csv
  crowdml aggregate answers.csv --compare all --truth truth.csv        every method side by side
  crowdml aggregate today.csv --history yesterday.csv --confusion tomorrow.csv --out labels.csv
  crowdml aggregate parts/ --engine ray --out consensus/               more than one machine's memory
"""

TABLES: dict[str, Callable[[CrowdLabels, Aggregation], pd.DataFrame]] = {
    "out": consensus_frame,
    "workers": workers_frame,
    "confusion": confusion_frame,
    "doubtful_labels": doubtful_labels_frame,
}


def add_to(commands: argparse._SubParsersAction, name: str) -> None:
    """The command line of this command."""
    command = commands.add_parser(
        name,
        help="find the true labels and the quality of the workers",
        description="Find the true label of each task and the quality of each worker.  The ending of a file says its\n"
        "format: .csv, .csv.gz, .jsonl or .parquet.",
        epilog=EXAMPLES,
    )
    command.set_defaults(run=run)
    add_input(command)
    add_method_options(command)
    out = command.add_argument_group("output")
    out.add_argument("--out", metavar="FILE", help="task, label, p_<class> of each class, doubt; - for standard output")
    out.add_argument("--workers", metavar="FILE", help="worker, n_labels, quality, its standard error and interval")
    out.add_argument("--confusion", metavar="FILE", help="worker, truth, label, probability, count")
    out.add_argument(
        "--doubtful-labels", metavar="FILE", help="the annotations, the most probably wrong first: p_wrong"
    )
    out.add_argument("--truth", metavar="FILE", help="true labels, for the accuracy only: columns task, label")
    out.add_argument(
        "--compare", nargs="+", metavar="NAME", help="several methods side by side in place of --method, or all"
    )
    place = command.add_argument_group("where")
    place.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: shared among the processes of a Ray cluster, for Parquet larger than one memory; --out is a folder",
    )
    place.add_argument("--address", help="of the Ray cluster (default: $RAY_ADDRESS, else one at hand, else its own)")
    place.add_argument("--shards", type=int, metavar="N", help="processes that share the crowd (default: by its size)")


def run(options: argparse.Namespace) -> None:
    """Read, aggregate, write, and say what came of it."""
    if options.engine == "ray":
        on_ray.run(options)
        return
    outputs = {name: path for name in TABLES if (path := getattr(options, name)) is not None}
    check_outputs(list(outputs.values()))
    console = Console(stderr=STDOUT in outputs.values())
    if options.compare:
        compare.run(options, console)
        return
    method = configured(options.method, options)
    with step(f"reading {options.input}") as progress:
        crowd = read_input(options, progress)
    prior = read_prior(options.prior, crowd, options.task_column)
    truth = read_truth(options, crowd)
    started = time.perf_counter()
    with step(f"aggregating with {options.method}"):
        result = method.fit(crowd, prior)
    seconds = time.perf_counter() - started
    with step("writing"):
        write_tables({path: _table(name, crowd, result, options) for name, path in outputs.items()})
    describe_crowd(console, options.input, crowd)
    describe_result(console, options.method, crowd, result, seconds, truth)
    speak(console, written(list(outputs.values())))


def _table(name: str, crowd: CrowdLabels, result: Aggregation, options: argparse.Namespace) -> pd.DataFrame:
    """An output; tables of items and annotations name their columns as the input does."""
    frame = TABLES[name](crowd, result)
    if name in ("workers", "confusion"):
        return frame
    columns = columns_of(options)
    return frame.rename(columns={"task": columns.task, "worker": columns.worker, "label": columns.label})
