"""`crowdml plan`: on which items to buy the next labels, and how many labels an item are enough."""

from __future__ import annotations

import argparse

import pandas as pd
from rich.console import Console

from crowdml.cli.display import show, speak, step, table, written
from crowdml.cli.options import (
    add_input,
    add_method_options,
    check_outputs,
    columns_of,
    configured,
    read_input,
    read_truth,
)
from crowdml.files import write_tables
from crowdml.files.writing import STDOUT
from crowdml.quality.label_planning import enough_labels, next_labels

EXAMPLES = """examples:
  crowdml plan answers.csv --next next.csv --n 500             the 500 tasks on which another label helps most
  crowdml plan answers.csv --truth truth.csv --enough curve.csv
  python -m analysis.labels_needed curve.csv --out curve.png   the figure
"""


def add_to(commands: argparse._SubParsersAction, name: str) -> None:
    """The command line of this command."""
    command = commands.add_parser(
        name,
        help="where to buy the next labels, and how many are enough",
        description="Rank the tasks by what one more label is expected to tell, and draw labels out of the crowd at\n"
        "hand to see how accuracy grows with the number of labels a task.",
        epilog=EXAMPLES,
    )
    command.set_defaults(run=run)
    add_input(command)
    add_method_options(command)
    bought = command.add_argument_group("the next labels")
    bought.add_argument("--next", metavar="FILE", help="task, expected_gain, doubt, n_labels; the best first")
    bought.add_argument("--n", type=int, metavar="N", help="how many tasks (default: all)")
    bought.add_argument(
        "--gain",
        choices=("information", "error"),
        default="information",
        help="expected fall of the entropy in nats (default), or of the probability of a wrong label",
    )
    enough = command.add_argument_group("enough labels")
    enough.add_argument("--enough", metavar="FILE", help="labels_per_item, mean_labels, accuracy, standard_error")
    enough.add_argument(
        "--truth", metavar="FILE", help="true labels: columns task, label; without it, agreement with all labels"
    )
    enough.add_argument(
        "--labels-per-item",
        nargs="+",
        type=int,
        metavar="K",
        help="where to look (default: up to what most have)",
    )
    enough.add_argument("--samples", type=int, default=5, metavar="N", help="random sub-samples for each (default 5)")


def run(options: argparse.Namespace) -> None:
    """Read, aggregate, plan, write and show the beginnings."""
    outputs = [path for path in (options.next, options.enough) if path]
    if not outputs:
        raise ValueError("nothing to do: give --next FILE, --enough FILE or both")
    if options.prior:
        raise ValueError("--prior is of crowdml aggregate; a plan has no place for it")
    check_outputs(outputs)
    console = Console(stderr=STDOUT in outputs)
    method = configured(options.method, options)
    with step(f"reading {options.input}") as progress:
        crowd = read_input(options, progress)
    truth = read_truth(options, crowd)
    tables = {}
    if options.next:
        with step(f"aggregating with {options.method}"):
            wanted = next_labels(crowd, method.fit(crowd), options.n, gain=options.gain)
        tables[options.next] = wanted.rename(columns={"task": columns_of(options).task})
        _show(console, f"the next labels by expected {options.gain}", wanted.head(5))
    if options.enough:
        with step("aggregating sub-samples") as progress:
            curve = enough_labels(
                crowd,
                method,
                truth,
                labels_per_item=options.labels_per_item,
                n_samples=options.samples,
                seed=options.seed or 0,
                progress=progress,
            )
        tables[options.enough] = curve
        _show(console, curve["measure"].iloc[0], curve.drop(columns="measure"))
    write_tables(tables)
    speak(console, written(outputs))


def _show(console: Console, title: str, rows: pd.DataFrame) -> None:
    speak(console, f"\n{title}")
    cells = [[f"{value:.4g}" if isinstance(value, float) else value for value in row] for row in rows.values.tolist()]
    show(console, table(list(rows.columns), cells, numbers=list(rows.columns)))
