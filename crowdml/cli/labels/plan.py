"""Find the tasks whose next label helps most, and how many labels per task are enough.

Tasks are ranked by the expected gain of one more label.  For the second question, random parts of the labels
are aggregated, which shows how accuracy grows with the number of labels per task.

examples:
  crowdml plan answers.csv --next next.csv --n 500             the 500 tasks on which another label helps most
  crowdml plan answers.csv --next next.csv --pool tasks.csv    tasks without any answer too
  crowdml plan answers.csv --truth truth.csv --enough curve.csv --figure curve.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from analysis.labels_needed import MARGIN, labels_needed, verdict
from crowdml.cli.display import Console, show, speak, step, table, written
from crowdml.cli.options import (
    add_input,
    add_method_options,
    add_writing,
    check_outputs,
    columns_of,
    configured,
    read_input,
    read_truth,
)
from crowdml.cli.parser import not_negative
from crowdml.files import check_writable, read_columns, renamed, write_tables
from crowdml.files.writing import STDOUT
from crowdml.quality.label_planning import enough_labels, next_labels, with_items
from crowdml.support.whole_file import whole_file

FIGURE_ENDINGS = (".png", ".svg", ".pdf")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_input(command)
    add_method_options(command)
    bought = command.add_argument_group("the next labels")
    bought.add_argument("--next", metavar="FILE", help="task, expected_gain, doubt, n_labels; the best task first")
    bought.add_argument(
        "--pool", metavar="FILE", help="tasks to rank too, answered or not: one column with the name of the task column"
    )
    bought.add_argument("--n", type=int, metavar="N", help="number of tasks (default: all)")
    bought.add_argument(
        "--gain", choices=("information", "error"), default="information",
        help="expected decrease of the entropy in nats (default), or of the probability of a wrong label",
    )  # fmt: skip
    enough = command.add_argument_group("enough labels")
    enough.add_argument("--enough", metavar="FILE", help="labels_per_item, mean_labels, accuracy, standard_error")
    enough.add_argument("--figure", metavar="FILE", help="the same as a figure: .png, .svg or .pdf")
    enough.add_argument(
        "--margin", type=not_negative, default=MARGIN, metavar="P",
        help=f"labels are enough if the accuracy is within P of the best (default: {MARGIN})",
    )  # fmt: skip
    enough.add_argument(
        "--truth", metavar="FILE", help="true labels: columns task, label (default: the result from all labels)"
    )
    enough.add_argument(
        "--labels-per-item", nargs="+", type=int, metavar="K",
        help="numbers of labels per task to try (default: up to the number that most tasks have)",
    )  # fmt: skip
    enough.add_argument("--samples", type=int, default=5, metavar="N", help="sub-samples per number (default: 5)")
    add_writing(command)


def run(options: argparse.Namespace) -> None:
    """Read the annotations, aggregate, plan, write the tables, and print their first rows."""
    outputs = [path for path in (options.next, options.enough, options.figure) if path]
    if not outputs:
        raise ValueError("nothing to do; give --next FILE, --enough FILE or --figure FILE")
    if options.prior:
        raise ValueError("crowdml plan does not use --prior; leave it out")
    if options.pool and not options.next:
        raise ValueError("--pool belongs to --next; add --next FILE")
    check_outputs([path for path in outputs if path != options.figure], options.input)
    if options.figure:
        check_writable(options.figure, FIGURE_ENDINGS)
    console = Console(stderr=STDOUT in outputs)
    method = configured(options.method, options)
    with step(f"reading {options.input}") as progress:
        crowd = read_input(options, progress)
    truth = read_truth(options, crowd)
    tables = {}
    if options.next:
        pool = crowd
        if options.pool:
            task = options.task_column
            pool = with_items(crowd, read_columns(options.pool, (task,), strip=options.strip)[task].to_numpy())
        with step(f"aggregating with {options.method}"):
            wanted = next_labels(pool, method.fit(pool), options.n, gain=options.gain)
        tables[options.next] = renamed(wanted, {"task": columns_of(options).task})
        _show(console, f"the next labels by expected {options.gain}", wanted.head(5))
    if options.enough or options.figure:
        with step("aggregating sub-samples") as progress:
            curve = enough_labels(
                crowd, method, truth, labels_per_item=options.labels_per_item, n_samples=options.samples,
                seed=options.seed or 0, progress=progress,
            )  # fmt: skip
        if options.enough:
            tables[options.enough] = curve
        _show(console, curve["measure"].iloc[0], curve.drop(columns="measure"))
        speak(console, f"labels per task: {verdict(curve, options.margin)}")
        if options.figure:
            figure = labels_needed(curve, margin=options.margin)
            with whole_file(options.figure) as temporary:
                figure.savefig(temporary, format=Path(options.figure).suffix[1:].lower(), dpi=200)
    write_tables(tables, formula_safe=options.formula_safe)
    speak(console, written(outputs))


def _show(console: Console, title: str, rows: pd.DataFrame) -> None:
    speak(console, f"\n{title}")
    cells = [[f"{value:.4g}" if isinstance(value, float) else value for value in row] for row in rows.values.tolist()]
    show(console, table(list(rows.columns), cells, numbers=list(rows.columns)))
