"""Search the best options of a method on one crowd, and write them to a file for crowdml sweep.

The search never looks at test labels.  The same command continues an earlier search.  Several processes that name
the same study share its trials.

examples:
  crowdml tune --method nnaqc --dataset digits --pattern uniform --noise-rate 0.5 --workers 1
  crowdml tune --method em --dataset rte --backend inline --out em.toml
  crowdml sweep --methods em nnaqc --method-options best.toml

exit code: 0 done, 2 bad input, 3 no trial succeeded, 130 interrupted, 143 terminated
"""

from __future__ import annotations

import argparse
from typing import get_args

from crowdml.cli.parser import positive
from crowdml.cli.sweeping.search_choice import USUAL_RECIPE
from crowdml.learning.recipe import Recipe
from crowdml.noise import ASSIGNMENTS, PATTERNS, WORKER_MODELS
from sweeps.tuning.samplers import Sampler
from sweeps.tuning.search import Objective
from sweeps.tuning.search_inline import Scheduler


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("--method", required=True, metavar="NAME", help="such as nnaqc, em, labnet or em+elr")
    crowd = command.add_argument_group("crowd")
    crowd.add_argument("--dataset", required=True, metavar="NAME", help="a data set, or a crowd of real workers")
    crowd.add_argument(
        "--pattern", metavar="NAME", help=f"{', '.join(PATTERNS)}, machine_annotators (default for real crowds: real)"
    )
    crowd.add_argument("--noise-rate", type=float, metavar="RATE", help="in [0, 1)")
    crowd.add_argument("--workers", type=int, metavar="N", help="number of workers (default: all of a real crowd)")
    crowd.add_argument("--missing-rate", type=float, default=0.0, metavar="RATE", help="in [0, 1) (default: 0)")
    crowd.add_argument("--worker-model", default="homogeneous", metavar="NAME", help=", ".join(WORKER_MODELS))
    crowd.add_argument("--assignment", default="every_item", metavar="NAME", help=", ".join(ASSIGNMENTS))
    crowd.add_argument("--n-train", type=int, metavar="N", help="training items used (default: all)")
    what = command.add_argument_group("what to search, and how to judge it")
    what.add_argument("--options", nargs="+", metavar="NAME", help="only these options (default: all with a range)")
    what.add_argument(
        "--recipe", nargs="*", metavar="NAME",
        help=f"also search the training: {', '.join(Recipe.SPACE)} (default: {' '.join(USUAL_RECIPE)})",
    )  # fmt: skip
    what.add_argument(
        "--objective", choices=get_args(Objective), default="noisy_validation",
        help="score on held-out items: agreement with the labels of the crowd (for an aggregator: likelihood of "
        "held-out annotations), or accuracy by true classes",
    )  # fmt: skip
    what.add_argument(
        "--validation", type=float, default=0.2, metavar="SHARE", help="share of items held out (default: 0.2)"
    )
    what.add_argument("--multi-objective", action="store_true", help="also minimise seconds: find the Pareto front")
    what.add_argument(
        "--seeds", nargs="+", type=int, default=[0], metavar="N", help="a trial scores the mean over these (default: 0)"
    )
    what.add_argument(
        "--test-seeds", nargs="+", type=int, metavar="N", help="seeds of the final test (default: --seeds)"
    )
    what.add_argument(
        "--network", metavar="NAME", help="network to train; without it, an aggregator is judged by its labels"
    )
    what.add_argument(
        "--epochs", type=positive, metavar="N", help="epochs per training; the schedule shrinks in proportion"
    )
    how = command.add_argument_group("how to search")
    how.add_argument(
        "--trials", type=positive, default=50, metavar="N",
        help="trials of all processes and runs together (default: 50)",
    )  # fmt: skip
    how.add_argument("--sampler", choices=get_args(Sampler), default="tpe")
    how.add_argument(
        "--scheduler", choices=get_args(Scheduler),
        help="which trials stop early (default: asha with a network and one objective, else none); pbt trains a "
        "population whose options change during training",
    )  # fmt: skip
    how.add_argument("--search-seed", type=int, default=0, metavar="N", help="seed of the sampler (default: 0)")
    how.add_argument(
        "--study", metavar="FILE|URL",
        help="a file, or a database such as sqlite:///s.db (default: a file beside --out)",
    )  # fmt: skip
    how.add_argument(
        "--out", default="best.toml", metavar="FILE", help="file for the best options (default: best.toml)"
    )
    how.add_argument(
        "--dry-run", action="store_true", help="print what is searched and how many trials are done; run nothing"
    )
    place = command.add_argument_group("where to run")
    place.add_argument("--address", help='Ray cluster: host:port, "auto", or "local" to start one for this search')
    place.add_argument("--backend", choices=("ray", "inline"), default="ray", help="inline: in this process")
    place.add_argument("--cpus-per-trial", type=positive, default=1, metavar="N", help="CPUs (default: 1)")
    place.add_argument("--gpus-per-trial", type=float, metavar="X", help="GPUs (default: 1 if there are GPUs)")


def run(options: argparse.Namespace) -> int:
    """Run the search."""
    # Imported here, because the help needs neither Ray nor torch.
    from crowdml.cli.sweeping.run_tune import run

    return run(options)
