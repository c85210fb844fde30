"""`crowdml aggregate --compare`: compare several methods on one crowd."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crowdml.aggregation.aggregator import Aggregation
from crowdml.cli.display import Console, show, speak, step, table
from crowdml.cli.labels.summary import accuracy, accuracy_text, describe_crowd
from crowdml.cli.options import configured, prior_of, read_input, read_truth
from crowdml.files import write_tables
from crowdml.methods.registry import REGISTRY


class ComparedMethod(NamedTuple):
    """The result of one method and its seconds, or the reason why it gave no result."""

    method: str
    result: Aggregation | None
    seconds: float
    refusal: str = ""


def run(options: argparse.Namespace, console: Console) -> None:
    """Read the annotations, run every method, print and write the comparison."""
    for name in ("workers", "confusion", "doubtful_labels"):
        if getattr(options, name):
            raise ValueError(f"--compare writes one table, to --out; leave out --{name.replace('_', '-')}")
    methods = {name: configured(name, options) for name in chosen_methods(options.compare)}
    with step(f"reading {options.input}") as progress:
        crowd = read_input(options, progress)
    prior = prior_of(options, crowd)
    truth = read_truth(options, crowd)
    outcomes: list[ComparedMethod] = []
    with step("comparing") as progress:
        for name, method in methods.items():
            progress(len(outcomes), len(methods))
            started = time.perf_counter()
            try:
                result = method.fit(crowd, prior)
            except ValueError as error:
                outcomes.append(ComparedMethod(name, None, 0.0, " ".join(str(error).split())))
            else:
                outcomes.append(ComparedMethod(name, result, time.perf_counter() - started))
    frame = comparison(outcomes, truth)
    if options.out:
        write_tables({options.out: frame}, formula_safe=options.formula_safe)
    describe_crowd(console, options.input, crowd)
    _show(console, frame)
    if options.out:
        speak(console, f"\nwrote {options.out}")


def chosen_methods(names: Sequence[str]) -> list[str]:
    """Return the named methods, or every aggregator for `all`."""
    if list(names) == ["all"]:
        return [name for name, entry in REGISTRY.items() if entry.kind == "aggregator"]
    return list(dict.fromkeys(names))


def comparison(outcomes: Sequence[ComparedMethod], truth: NDArray[np.int64] | None = None) -> pd.DataFrame:
    """Return one row per method.

    Columns: method, seconds, n_iter, converged; accuracy and accuracy_se if the truth is given; same_<method>, the
    share of items to which that method gives the same label; refusal, which is empty for a method with a result.
    """
    answered = {outcome.method: outcome.result for outcome in outcomes if outcome.result is not None}
    rows = []
    for method, result, seconds, refusal in outcomes:
        row: dict[str, object] = {"method": method}
        if result is not None:
            row |= {"seconds": seconds, "n_iter": result.n_iter, "converged": result.converged}
            if truth is not None:
                row["accuracy"], row["accuracy_se"] = accuracy(result.labels, truth)
            row |= {f"same_{name}": float((result.labels == other.labels).mean()) for name, other in answered.items()}
        rows.append(row | {"refusal": refusal})
    frame = pd.DataFrame(rows)
    return frame.astype({"n_iter": "Int64", "converged": "boolean"}) if answered else frame


def _show(console: Console, frame: pd.DataFrame) -> None:
    answered = frame[frame["refusal"] == ""]
    with_truth = "accuracy" in answered
    if with_truth:
        answered = answered.sort_values("accuracy", ascending=False, kind="stable")
    heads = ["", "method", "seconds", "iterations", *(["accuracy"] if with_truth else [])]
    rows = []
    for number, row in enumerate(answered.to_dict("records"), 1):
        cells = [number, row["method"], f"{row['seconds']:.2f}", f"{row['n_iter']}{' ' if row['converged'] else '+'}"]
        rows.append([*cells, accuracy_text(row["accuracy"], row["accuracy_se"])] if with_truth else cells)
    speak(console, "")
    show(console, table(heads, rows, numbers=["", *heads[2:]], names=["method"]))
    if (~answered["converged"]).any():
        speak(console, "+: stopped before it converged")
    _show_agreement(console, answered)
    for row in frame[frame["refusal"] != ""].to_dict("records"):
        speak(console, f"not {row['method']}: {row['refusal']}")


def _show_agreement(console: Console, answered: pd.DataFrame) -> None:
    """Print how often two methods give the same label, in lines that fit a narrow terminal."""
    speak(console, "\nitems with the same label, per cent (=: all items)")
    numbers = range(1, len(answered) + 1)
    speak(console, "   " + "".join(f"{number:>4}" for number in numbers))
    for number, row in zip(numbers, answered.to_dict("records"), strict=True):
        shares = [row[f"same_{other}"] for other in answered["method"]]
        percents = "".join(f"{'=' if share == 1 else f'{100 * share:.0f}':>4}" for share in shares)
        speak(console, f"{number:>3}{percents}  {row['method']}")
    speak(console, "")
