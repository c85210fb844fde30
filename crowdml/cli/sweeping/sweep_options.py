"""The command line of `full_grid`: its options, and what they replace in a preset."""

from __future__ import annotations

import argparse
import os
from typing import Any

from crowdml import datasets
from crowdml.cli.arguments import OneLineParser, positive
from crowdml.noise import ASSIGNMENTS, PATTERNS, WORKER_MODELS
from sweeps.grid.presets import PRESETS


def parser() -> argparse.ArgumentParser:
    """The command line."""
    presets = "\n".join(f"  {name:15} {preset.description}" for name, preset in PRESETS.items())
    command = OneLineParser(
        prog="full_grid.py",
        description="Run a grid of label-noise experiments on Ray and write one Parquet row a cell.\n"
        "Cells that the results folder holds already are not computed again.",
        epilog=f"presets:\n{presets}\n\nexit code: 0 all cells ok, 2 bad input, 3 some cells failed",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    grid = command.add_argument_group("grid")
    grid.add_argument("--preset", help="grid to run (default: paper if there is a GPU, else laptop)")
    grid.add_argument("--grid", metavar="FILE", help="a grid of your own, a TOML file such as examples/my_grid.toml")
    grid.add_argument(
        "--allow-imports",
        action="store_true",
        help="let a grid file name methods your.module:Class, which runs their code",
    )
    grid.add_argument(
        "--only",
        metavar="QUERY",
        help="the cells of the grid for which it holds: 'method == \"labnet\" and n_workers > 3'",
    )
    grid.add_argument(
        "--method-options",
        metavar="FILE",
        help="options of methods and recipes, a TOML file as tune_method.py writes it",
    )
    grid.add_argument("--write-grid", metavar="FILE", help="write the grid as a TOML file to start from, and stop")
    axes = command.add_argument_group("axes (each replaces that axis of the preset)")
    axes.add_argument(
        "--datasets",
        nargs="+",
        metavar="NAME",
        help=f"{', '.join(datasets.names())}; crowds of real workers: {', '.join(datasets.crowd_names())}",
    )
    axes.add_argument(
        "--patterns",
        nargs="+",
        metavar="NAME",
        help=f"{', '.join(PATTERNS)}; real, of real workers; machine_annotators",
    )
    axes.add_argument("--noise-rates", nargs="+", type=float, metavar="RATE", help="in [0, 1)")
    axes.add_argument("--workers", nargs="+", type=int, metavar="N", help="number of workers, at least 1")
    axes.add_argument(
        "--missing-rates", nargs="+", type=float, metavar="RATE", help="share of labels missing, in [0, 1)"
    )
    axes.add_argument("--worker-models", nargs="+", metavar="NAME", help=", ".join(WORKER_MODELS))
    axes.add_argument("--assignments", nargs="+", metavar="NAME", help=", ".join(ASSIGNMENTS))
    axes.add_argument(
        "--labels-per-item", type=positive, metavar="N", help="of the assignments that do not ask everybody"
    )
    axes.add_argument("--methods", nargs="+", metavar="NAME", help="mv, em, labnet, em+base, your.module:Class, ...")
    axes.add_argument("--seeds", nargs="+", type=int, metavar="N")
    training = command.add_argument_group("training (each replaces the data set's own)")
    training.add_argument("--network", metavar="NAME", help="network for all data sets")
    training.add_argument(
        "--epochs", type=positive, metavar="N", help="epochs a training; the schedule shrinks with it"
    )
    training.add_argument("--n-train", type=positive, metavar="N", help="training items used")
    command.add_argument(
        "--results",
        default=os.environ.get("CROWDML_RESULTS", "results"),
        metavar="DIR|URI",
        help="results folder, s3://... or gs://... (default: $CROWDML_RESULTS or results/)",
    )
    place = command.add_argument_group("where")
    place.add_argument(
        "--address",
        help='Ray cluster: host:port, "auto" for the one this machine is part of, or "local" to start one for this run '
        "(default: $RAY_ADDRESS, else auto if there is one, else local)",
    )
    place.add_argument(
        "--backend", choices=("ray", "inline"), default="ray", help="inline: in this process, without Ray"
    )
    place.add_argument("--cpus-per-trial", type=positive, default=1, metavar="N", help="default 1")
    place.add_argument(
        "--gpus-per-trial",
        type=_share_of_gpu,
        metavar="X",
        help="of a training trial; a share packs several on one GPU, 2 and more train with DDP (default: auto, as many "
        "cells on a GPU as its memory holds, by what such cells needed before, else by a probe)",
    )
    place.add_argument(
        "--train-workers", type=positive, metavar="N", help="Ray Train workers a training cell (default: its GPUs)"
    )
    what = command.add_argument_group("what")
    what.add_argument(
        "--dry-run", action="store_true", help="print cells, what is done, and an estimate of time; run nothing"
    )
    again = what.add_mutually_exclusive_group()
    again.add_argument("--retry-failed", action="store_true", help="run only the cells that failed before")
    again.add_argument("--recompute", action="store_true", help="run cells that are done already too")
    what.add_argument(
        "--priority",
        nargs="+",
        default=[],
        type=_criterion,
        metavar="AXIS",
        help="what runs first: seed (the lowest), n_workers- (the highest), method=labnet,em (those, in that order)",
    )
    what.add_argument(
        "--price-per-gpu-hour", type=_not_negative, metavar="X", help="of one GPU, for the dry run's estimate of money"
    )
    what.add_argument("--price-per-cpu-hour", type=_not_negative, metavar="X", help="of one processor, likewise")
    what.add_argument(
        "--tensorboard",
        metavar="DIR",
        help="where the run's numbers go as TensorBoard scalars (default: RESULTS/tensorboard if RESULTS is a folder)",
    )
    return command


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Block field -> value, of the axes that the options replace."""
    axes = (
        "datasets", "patterns", "noise_rates", "workers", "missing_rates", "worker_models", "assignments", "methods",
        "seeds",
    )  # fmt: skip
    chosen: dict[str, Any] = {
        axis: tuple(getattr(options, axis)) for axis in axes if getattr(options, axis) is not None
    }
    for name in ("network", "epochs", "n_train"):
        if getattr(options, name) is not None:
            chosen[name] = getattr(options, name)
    if options.labels_per_item is not None:
        sparse = [name for name, kind in ASSIGNMENTS.items() if "labels_per_item" in kind.__dataclass_fields__]
        chosen["assignment_options"] = {name: {"labels_per_item": options.labels_per_item} for name in sparse}
    return chosen


def _criterion(text: str) -> str:
    """As `sweeps.grid.selection.order` takes it: argparse would take a word that begins with a minus for an option."""
    return f"-{text.removesuffix('-')}" if text.endswith("-") else text


def _share_of_gpu(text: str) -> float | None:
    return None if text == "auto" else _not_negative(text)


def _not_negative(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {value:g}")
    return value
