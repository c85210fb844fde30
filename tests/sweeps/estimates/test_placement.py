from __future__ import annotations

from typing import Any

import pytest

from crowdml.cli.main import parse
from crowdml.experiment.cell import Cell
from crowdml.learning.recipe import Recipe
from sweeps.estimates.costs import NetworkKind
from sweeps.estimates.placement import Placement, count_slots, fixed_placement
from tests.cells import cell

DIGITS = ("digits", "cnn_digits")


def trains(**changes: Any) -> Cell:
    return cell(network="cnn_digits", recipe=Recipe(epochs=1), **changes)


@pytest.mark.parametrize(
    ("arguments", "gpus", "cpus", "share", "workers"),
    [
        ([], 0, 1, None, 1),
        ([], 4, 1, 1.0, 1),
        (["--gpus-per-trial", "0.25", "--cpus-per-trial", "2"], 4, 2, 0.25, 1),
        (["--gpus-per-trial", "2"], 4, 1, 1.0, 2),
        (["--gpus-per-trial", "0"], 4, 1, None, 1),
        (["--gpus-per-trial", "auto"], 0, 1, None, 1),
        (["--train-workers", "2"], 0, 1, None, 2),
    ],
)
def test_what_a_trial_gets(arguments: list[str], gpus: float, cpus: int, share: float | None, workers: int) -> None:
    shares: dict[NetworkKind, float] = {} if share is None else {DIGITS: share}
    expected = Placement(cpus=cpus, gpus=shares, n_train_workers=workers)
    assert fixed_placement(parse(["sweep", *arguments]), [DIGITS], gpus) == expected
    assert expected.gpus_of(trains()) == (share or 0.0)
    assert expected.gpus_of(cell()) == 0.0


@pytest.mark.parametrize(
    ("arguments", "gpus", "message"),
    [
        (["--gpus-per-trial", "2"], 1, "--gpus-per-trial 2 is more than the number of GPUs, which is 1"),
        (["--gpus-per-trial", "1.5"], 4, "must be a whole number, got 1.5"),
        (["--train-workers", "2", "--backend", "inline"], 0, "--backend inline trains on one device"),
    ],
)
def test_what_it_cannot_get(arguments: list[str], gpus: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fixed_placement(parse(["sweep", *arguments]), [DIGITS], gpus)


def test_how_many_trials_run_at_a_time() -> None:
    labels, trained = [cell()], [trains()]
    quarter = Placement(gpus={DIGITS: 0.25})
    assert count_slots(labels, quarter, 16, 2) == 16
    assert count_slots(trained, quarter, 16, 2) == 8
    assert count_slots([*labels, *trained], quarter, 16, 2) == 8
    four = Placement(cpus=2, gpus={DIGITS: 1.0}, n_train_workers=4)
    assert count_slots(trained, four, 16, 8) == 2
    with pytest.raises(ValueError, match="a trial needs 8 CPUs and 4 GPUs, but there are 4 CPUs and 8 GPUs; lower"):
        count_slots(trained, four, 4, 8)
