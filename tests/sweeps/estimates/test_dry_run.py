from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from crowdml.experiment.cell import Cell
from crowdml.learning.recipe import Recipe
from sweeps.estimates.costs import CostModel, Estimate
from sweeps.estimates.dry_run import duration, print_forecast
from sweeps.estimates.forecast import Forecast, Prices, forecast
from sweeps.estimates.placement import Placement
from tests.cells import cell

HALF_A_GPU = Placement(cpus=2, gpus={("digits", "cnn_digits"): 0.5})
LABELS = [cell(seed=seed) for seed in range(4)]
TRAINED = [cell(seed=seed, network="cnn_digits", recipe=Recipe(epochs=5)) for seed in range(3)]


class Known(CostModel):
    """An hour for a label-only cell, ten for one that trains; the cells of seed 1 are guessed."""

    def estimate(self, cell: Cell) -> Estimate:
        return Estimate(3600.0 * (10 if cell.network else 1), "constants" if cell.seed == 1 else "measured")


def of(todo: list[Cell], status: dict[str, str] | None = None, **options: Any) -> Forecast:
    settings: dict[str, Any] = {"placement": HALF_A_GPU, "n_slots": 2, **options}
    return forecast([*LABELS, *TRAINED], todo, status or {}, Known(), **settings)


def printed(made: Forecast, *, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_forecast(console, made)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_hours_by_group_and_in_all() -> None:
    made = of([*LABELS[1:], *TRAINED])
    labels, trained = made.groups["digits", None, "mv"], made.groups["digits", "cnn_digits", "mv"]
    assert (labels.n_cells, labels.n_todo, labels.seconds, labels.gpu_seconds) == (4, 3, 3 * 3600, 0)
    assert (trained.n_cells, trained.n_todo, trained.seconds) == (3, 3, 30 * 3600)
    assert trained.gpu_seconds == 15 * 3600
    assert made.total.seconds == 33 * 3600
    assert made.total.cpu_seconds == 66 * 3600
    assert made.wall_seconds == 33 * 3600 / 2
    assert made.total.sources == {"measured": 4, "constants": 2}


def test_done_and_failed_cells_are_counted_and_take_no_time() -> None:
    status = {LABELS[0].id: "ok", LABELS[1].id: "failed", "of another grid": "ok"}
    made = of([LABELS[2]], status)
    assert (made.total.n_done, made.total.n_failed, made.total.n_todo) == (1, 1, 1)
    assert made.total.seconds == 3600


def test_no_number_of_slots_makes_the_longest_cell_shorter() -> None:
    assert of(TRAINED, n_slots=100).wall_seconds == 10 * 3600


def test_several_train_workers_hold_as_much_each() -> None:
    made = of(
        [LABELS[0], TRAINED[0]], placement=Placement(cpus=3, gpus={("digits", "cnn_digits"): 1}, n_train_workers=4)
    )
    assert made.total.gpu_seconds == 10 * 4 * 3600
    assert made.total.cpu_seconds == (1 * 3 + 10 * 3 * 4) * 3600


@pytest.mark.parametrize(
    ("prices", "money"),
    [
        (None, None),
        (Prices(), None),
        (Prices(gpu=2.0), 2 * 15),
        (Prices(cpu=0.05), 0.05 * 2 * 31),
        (Prices(gpu=2.0, cpu=0.05), 2 * 15 + 0.05 * 2 * 31),
    ],
)
def test_money(prices: Prices | None, money: float | None) -> None:
    assert of([LABELS[0], *TRAINED], prices=prices).money == (money if money is None else pytest.approx(money))


def test_what_is_printed_to_a_file_is_whole_and_plain() -> None:
    text = printed(of([*LABELS[1:], *TRAINED], {LABELS[0].id: "ok"}, prices=Prices(gpu=1.5)), width=40)
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "\x1b" not in text
    assert rows[0] == "data set network method cells done failed to compute hours GPU hours estimates"
    assert "digits - mv 4 1 0 3 3.00 - 2 measured, 1 constants" in rows
    assert "digits cnn_digits mv 3 0 0 3 30.00 15.00 2 measured, 1 constants" in rows
    assert "all 7 1 0 6 33.00 15.00 4 measured, 2 constants" in rows
    assert "7 cells: 1 done, 0 failed before, 6 to compute; about 1.4 d of work, 15.00 GPU hours, 16.5 h with 2" in text
    assert "about 22.50 at the given prices" in text
    assert "estimates: 4 measured, 2 constants\nconstants come from another machine" in text


def test_a_terminal_has_it_in_its_width() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    print_forecast(console, of(TRAINED))
    assert isinstance(console.file, io.StringIO)
    table = console.file.getvalue().split("7 cells")[0]
    assert "\x1b[1m" in table
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in table.splitlines()) <= 100


def test_small_sums_of_money_are_not_nothing() -> None:
    assert "about 0.0062 at the given prices" in printed(of([LABELS[0]], prices=Prices(cpu=0.0031)))


def test_nothing_to_compute() -> None:
    text = printed(of([], {one.id: "ok" for one in [*LABELS, *TRAINED]}))
    assert "7 cells: 7 done, 0 failed before, 0 to compute; about 0.0 s of work" in text
    assert "estimates:" not in text
    assert "constants" not in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (59, "59.0 s"), (90, "1.5 min"), (7200, "2.0 h"), (864_000, "10.0 d")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
