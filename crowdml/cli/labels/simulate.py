"""Simulate the labels of a crowd whose true labels are known.

The same options and seed give the same labels.  The error for an unknown option of a pattern, worker model or
assignment lists the valid options.

examples:
  crowdml simulate --items 1000 --workers 9 --classes 4 --rate 0.5 --worker-model beta_ability \\
      --out answers.csv --truth-out truth.csv
  crowdml simulate --items 100000 --workers 500 --classes 2 --rate 0.3 --labels-per-item 5 \\
      --worker-model hammer_spammer --worker-option hammers=0.7 --out answers.parquet --truth-out truth.parquet
  crowdml simulate --items 1000 --workers 9 --classes 4 --pattern flip --pattern-option 'pairs=((0,1),(2,3))' \\
      --rate 0.4 --missing-rate 0.3 --seed 1 --out answers.csv
  crowdml aggregate answers.csv --truth truth.csv --compare all
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crowdml.cli.display import Console, sizes, speak, step, written
from crowdml.cli.options import check_outputs, named_values, plain_value
from crowdml.files import write_tables
from crowdml.files.writing import STDOUT
from crowdml.labels import CrowdLabels
from crowdml.noise import (
    ASSIGNMENTS,
    MISSING_RULES,
    PATTERNS,
    WORKER_MODELS,
    make_assignment,
    make_pattern,
    make_workers,
    simulate_crowd,
)
from crowdml.noise.spread import ItemDifficulty
from crowdml.support.memory import check_memory

OPTIONS: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "NAME=VALUE"}


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    for size in ("items", "workers"):
        command.add_argument(f"--{size}", type=int, required=True, metavar="N")
    command.add_argument("--classes", type=int, required=True, metavar="N", help="number of equally frequent classes")
    errors = command.add_argument_group("errors")
    errors.add_argument(
        "--rate", type=float, required=True, metavar="P", help="probability that the pattern draws a label, in [0, 1)"
    )
    errors.add_argument(
        "--pattern", default="uniform", metavar="NAME", help=f"{', '.join(PATTERNS)} (default: uniform)"
    )
    errors.add_argument("--pattern-option", **OPTIONS)
    errors.add_argument(
        "--worker-model", default="homogeneous", metavar="NAME",
        help=f"{', '.join(WORKER_MODELS)} (default: homogeneous)",
    )  # fmt: skip
    errors.add_argument("--worker-option", **OPTIONS)
    asked = command.add_argument_group("who labels what")
    asked.add_argument(
        "--assignment", metavar="NAME",
        help=f"{', '.join(ASSIGNMENTS)} (default: every_item, or balanced with --labels-per-item)",
    )  # fmt: skip
    asked.add_argument("--assignment-option", **OPTIONS)
    asked.add_argument("--labels-per-item", type=int, metavar="N", help="the assignment option labels_per_item")
    asked.add_argument(
        "--missing-rate", type=float, default=0.0, metavar="P", help="share of labels to remove (default: 0)"
    )
    asked.add_argument(
        "--missing", choices=MISSING_RULES, default="floor", help="how this share becomes a number of labels per item"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all random draws (default: 0)")
    command.add_argument("--out", required=True, metavar="FILE", help="task, worker, label; - for standard output")
    command.add_argument("--truth-out", metavar="FILE", help="task, label")


def run(options: argparse.Namespace) -> None:
    """Draw the truth and the labels, write them, and print a summary."""
    for name, least in (("items", 1), ("workers", 1), ("classes", 2), ("seed", 0)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be at least {least}, got {getattr(options, name)}")
    outputs = [path for path in (options.out, options.truth_out) if path]
    check_outputs(outputs)
    _check_size(options)
    with step("simulating"):
        crowd, truth = _simulate(options)
    tables = [crowd.to_frame(), pd.DataFrame({"task": np.arange(len(truth)), "label": truth})]
    with step("writing"):
        write_tables(dict(zip(outputs, tables, strict=False)))
    share = float((crowd.label == truth[crowd.item]).mean())
    speak(Console(stderr=STDOUT in outputs), f"{sizes(crowd)}, {100 * share:.1f} % right; {written(outputs)}")


def _check_size(options: argparse.Namespace) -> None:
    """Raise TooLargeError if the truth, the labels and one confusion matrix surely do not fit in memory."""
    n_items, n_classes = options.items, options.classes
    labels_each = options.labels_per_item or (options.workers if options.assignment in (None, "every_item") else 1)
    n_labels = n_items * labels_each
    check_memory(
        16.0 * n_items + 24.0 * n_labels * (1 - options.missing_rate) + 16.0 * n_classes**2,
        f"a crowd of {n_items:,} items, {n_labels:,} labels and {n_classes:,} classes",
        "simulate fewer items, labels or classes",
    )


def _simulate(options: argparse.Namespace) -> tuple[CrowdLabels, NDArray[np.int64]]:
    pattern = make_pattern(options.pattern, options.rate, "a simulated crowd", _values(options.pattern_option))
    assigned = _values(options.assignment_option)
    if options.labels_per_item is not None:
        assigned["labels_per_item"] = options.labels_per_item
    default = "every_item" if options.labels_per_item is None else "balanced"
    assignment = make_assignment(options.assignment or default, assigned)
    rng = np.random.default_rng(options.seed)
    truth = rng.permutation(np.arange(options.items) % options.classes)
    workers = make_workers(
        options.worker_model, pattern, options.workers, options.classes, rng, _values(options.worker_option)
    )
    crowd = simulate_crowd(
        truth, workers, assignment=assignment,
        difficulty=pattern.spread if isinstance(pattern, ItemDifficulty) else 0.0,
        missing_rate=options.missing_rate, missing=options.missing, seed=options.seed,
    )  # fmt: skip
    return crowd, truth


def _values(words: list[str]) -> dict[str, Any]:
    return {name: plain_value(text) for name, text in named_values(words).items()}
