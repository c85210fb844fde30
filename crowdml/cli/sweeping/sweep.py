"""Run a grid of label-noise experiments on Ray and write one Parquet row per cell.

Cells that already have a result in the results folder are not computed again.  After an interruption, the same
command computes the rest.

examples:
  crowdml sweep                                                the grid that fits this machine
  crowdml sweep --preset labels --dry-run                      hours and money before anything runs
  crowdml sweep --preset laptop --only 'method == "labnet" and n_workers > 3' --priority seed
  crowdml sweep --methods mv em labnet --workers 3 7 --noise-rates 0.3 0.6
  crowdml sweep --grid my_grid.toml --results s3://bucket/crowdml --gpus-per-trial 0.25

crowdml presets, crowdml methods and crowdml datasets list the names.

exit code: 0 all cells have a result, 2 bad input, 3 some cells failed, 130 interrupted, 143 terminated
"""

from __future__ import annotations

import argparse
import os

from crowdml.cli.parser import not_negative, positive
from crowdml.cli.sweeping.grid_options import add_grid_options


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_grid_options(command)
    command.add_argument(
        "--results", default=os.environ.get("CROWDML_RESULTS", "results"), metavar="DIR|URI",
        help="results folder, s3://... or gs://... (default: $CROWDML_RESULTS or results/)",
    )  # fmt: skip
    what = command.add_argument_group("what to run")
    what.add_argument("--write-grid", metavar="FILE", help="write the grid to a TOML file for editing; run nothing")
    what.add_argument("--dry-run", action="store_true", help="print the cells and an estimate of time; run nothing")
    again = what.add_mutually_exclusive_group()
    again.add_argument("--retry-failed", action="store_true", help="run only the cells that failed before")
    again.add_argument("--recompute", action="store_true", help="also run cells that have a result")
    what.add_argument(
        "--price-per-gpu-hour", type=not_negative, metavar="X", help="price of one GPU, for the estimate of --dry-run"
    )
    what.add_argument(
        "--price-per-cpu-hour", type=not_negative, metavar="X",
        help="price of one processor, for the estimate of --dry-run",
    )  # fmt: skip
    what.add_argument(
        "--tensorboard", metavar="DIR",
        help="folder of the run's TensorBoard scalars (default: RESULTS/tensorboard if RESULTS is a local folder)",
    )  # fmt: skip
    place = command.add_argument_group("where to run")
    place.add_argument(
        "--address",
        help='Ray cluster: host:port, "auto" for the cluster of this machine, or "local" to start a Ray for this run '
        "(default: $RAY_ADDRESS, else auto if this machine is in a cluster, else local)",
    )
    place.add_argument(
        "--backend", choices=("ray", "inline"), default="ray", help="inline: in this process, without Ray"
    )
    place.add_argument("--cpus-per-trial", type=positive, default=1, metavar="N", help="CPUs per trial (default: 1)")
    place.add_argument(
        "--gpus-per-trial", type=_share_of_gpu, metavar="X",
        help="GPUs per training trial; with a fraction, several trials share a GPU; with 2 or more, DDP trains on all "
        "of them (default: auto, as many trials per GPU as its memory holds, by earlier results or a short probe)",
    )  # fmt: skip
    place.add_argument(
        "--train-workers", type=positive, metavar="N", help="Ray Train workers per training cell (default: one per GPU)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the sweep."""
    # Imported here, because the help needs neither Ray nor torch.
    from crowdml.cli.sweeping.run_sweep import run

    return run(options)


def _share_of_gpu(text: str) -> float | None:
    return None if text == "auto" else not_negative(text)
