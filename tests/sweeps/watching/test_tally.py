from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.experiment.cell import Cell
from crowdml.learning.recipe import Recipe
from sweeps.store.schema import TABLES
from sweeps.watching.snapshot import Count, LastError, Snapshot
from sweeps.watching.tally import N_BEST, N_ERRORS, Outcome, Tally
from tests.cells import cell

NO_ROWS = TABLES["cells"].empty_table().to_pandas()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def rows(*entries: tuple[Cell, str, float | None]) -> pd.DataFrame:
    return pd.DataFrame(
        [(one.id, status, error, None) for one, status, error in entries],
        columns=["cell_id", "status", "aggregation_error", "test_accuracy"],
    )


def ended(
    one: Cell, *, ok: bool = True, seconds: float = 1.0, error: float | None = 0.5, text: str | None = None,
    own: bool = True,
) -> Outcome:  # fmt: skip
    return Outcome(one.id, ok, seconds, error if ok else None, None, text, own)


def tally(
    cells: Sequence[Cell],
    clock: Clock,
    *,
    done: pd.DataFrame = NO_ROWS,
    todo: Sequence[Cell] | None = None,
    seconds: Callable[[Cell], float] = lambda _: 10.0,
    n_slots: int = 2,
) -> Tally:
    return Tally(cells, done, cells if todo is None else todo, seconds, n_slots, clock=clock)


def test_cells_are_counted_by_the_axes_that_vary(clock: Clock) -> None:
    cells = [cell(method=method, seed=seed, n_workers=5) for method in ("mv", "em") for seed in (0, 1)]
    before, failed_before, *todo = cells
    made = tally(cells, clock, done=rows((before, "ok", 0.1), (failed_before, "failed", None)), todo=todo)
    made.record([ended(todo[0]), ended(todo[1], ok=False, text="ValueError: no")])
    now = made.snapshot()
    assert (now.n_cells, now.n_done_before, now.n_failed_before, now.n_ok, now.n_failed, now.n_left) == (
        4, 1, 1, 1, 1, 0,
    )  # fmt: skip
    assert now.n_done == 2
    one_of_each = Count(done=1, failed=1, total=2)
    seeds = {"0": Count(done=2, failed=0, total=2), "1": Count(done=0, failed=2, total=2)}
    assert now.by_axis == {"method": {"mv": one_of_each, "em": one_of_each}, "seed": seeds}
    assert now.last_errors == (LastError(cell_id=todo[1].id, method="em", line="ValueError: no"),)


def test_a_cell_counts_once(clock: Clock) -> None:
    cells = [cell(seed=seed) for seed in (0, 1)]
    made = tally(cells, clock)
    for _ in range(3):
        made.record([ended(cells[0]), ended(cell(seed=99))])  # the latter is not of the grid
    now = made.snapshot()
    assert (now.n_ok, now.n_left, now.seconds_in_cells) == (1, 1, 1.0)


def test_a_cell_that_is_tried_again_is_open_until_it_ends(clock: Clock) -> None:
    cells = [cell(seed=seed) for seed in (0, 1)]
    made = tally(cells, clock, done=rows((cells[0], "failed", None), (cells[1], "ok", 0.1)))
    assert (made.snapshot().n_done, made.snapshot().n_failed_before, made.snapshot().n_left) == (0, 0, 2)
    made.record([ended(cells[0])])
    assert made.snapshot().by_axis["seed"]["0"] == Count(done=1, failed=0, total=1)


def test_cells_that_another_run_computed_are_done_but_their_seconds_do_not_count(clock: Clock) -> None:
    mine, theirs, other = (cell(seed=seed) for seed in (0, 1, 2))
    made = tally([mine, theirs, other], clock, todo=[mine, theirs])
    made.set_running(running=1)
    assert made.snapshot().eta_seconds == pytest.approx(20)
    made.record([ended(theirs, seconds=50.0, own=False), ended(other, seconds=50.0, own=False)])
    now = made.snapshot()
    assert (now.n_ok, now.n_left, now.seconds_in_cells) == (2, 1, 0.0)
    # The estimate is not corrected by the speed of other machines.
    assert now.eta_seconds == pytest.approx(10)


def test_the_best_method_of_a_panel_is_the_mean_over_its_seeds(clock: Clock) -> None:
    methods, workers, seeds = ("mv", "em"), (3, 5), (0, 1)
    cells = {(m, w, s): cell(method=m, n_workers=w, seed=s) for m in methods for w in workers for s in seeds}
    made = tally(list(cells.values()), clock, done=rows((cells["mv", 3, 0], "ok", 0.30)), todo=list(cells.values())[1:])
    made.record([ended(cells["em", 5, 0], error=0.1)])
    assert made.snapshot().best == ()  # one method is no contest
    made.record([ended(cells["mv", 3, 1], error=0.10), ended(cells["em", 3, 0], error=0.25)])
    (best,) = made.snapshot().best
    assert (best.panel, best.method, best.measure, best.n, best.n_methods) == (
        "3 workers", "mv", "aggregation_error", 2, 2,
    )  # fmt: skip
    assert best.value == pytest.approx(0.2)
    made.record([ended(cells["em", 3, 1], error=0.05), ended(cells["mv", 5, 1], ok=False)])
    (best,) = made.snapshot().best
    assert (best.method, best.value) == ("em", pytest.approx(0.15))


def test_where_networks_are_trained_the_highest_accuracy_is_best(clock: Clock) -> None:
    cells = [cell(network="cnn_digits", recipe=Recipe(epochs=1), method=method) for method in ("mv", "em")]
    made = tally(cells, clock)
    made.record([Outcome(cells[0].id, True, 1.0, 0.01, 0.8), Outcome(cells[1].id, True, 1.0, 0.5, 0.9)])
    (best,) = made.snapshot().best
    assert (best.panel, best.method, best.measure, best.value) == ("digits", "em", "test_accuracy", 0.9)


def test_cells_that_differ_in_options_are_never_averaged(clock: Clock) -> None:
    base = [cell(method="em"), cell(method="mv")]
    other = [cell(method="em", method_options={"max_iter": 5}), cell(method="mv", worker_model="beta_ability")]
    made = tally([*base, *other], clock)
    errors = (0.4, 0.3, 0.2, 0.1)
    made.record([ended(one, error=error) for one, error in zip([*base, *other], errors, strict=True)])
    (best,) = made.snapshot().best  # the second panel has one method only
    assert (best.panel, best.method, best.value, best.n) == ("homogeneous", "em max_iter=5", 0.2, 1)


def test_the_eta_follows_how_long_cells_of_a_kind_really_take(clock: Clock) -> None:
    quick, slow = ([cell(method=method, seed=seed) for seed in range(100)] for method in ("mv", "em"))
    made = tally([*quick, *slow], clock)
    assert made.snapshot().eta_seconds == pytest.approx(200 * 10 / 2)
    clock.now = 100.0
    assert made.snapshot().eta_seconds == pytest.approx(1000)  # processes may still be starting
    made.record([ended(one, seconds=10.0) for one in quick[:50]] + [ended(one, seconds=40.0) for one in slow[:50]])
    expected = (50 * 10 + 50 * 40) / 2
    assert made.snapshot().eta_seconds == pytest.approx(expected, rel=0.02)
    clock.now = 200.0
    assert made.snapshot().eta_seconds == pytest.approx(expected - 100, rel=0.02)
    # Kind by kind: once the slow ones are done, what is left is what the quick ones take.
    made.record([ended(one, seconds=40.0) for one in slow[50:]])
    assert made.snapshot().eta_seconds == pytest.approx(50 * 10 / 2, rel=0.05)


def test_the_eta_is_never_zero_while_there_is_work(clock: Clock) -> None:
    cells = [cell(seed=seed) for seed in range(10)]
    made = tally(cells, clock)
    made.record([ended(one, seconds=10.0) for one in cells[:5]])
    clock.now = 100_000.0
    assert made.snapshot().eta_seconds == pytest.approx(2.5)
    made.record([ended(one) for one in cells[5:]])
    assert made.snapshot().eta_seconds is None


def test_the_last_cells_run_fewer_at_a_time(clock: Clock) -> None:
    cells = [cell(seed=seed) for seed in range(8)]
    made = tally(cells, clock, n_slots=8)
    made.set_running(running=8, pending=3)
    assert made.snapshot().eta_seconds == pytest.approx(10)
    made.set_running(running=2, pending=0)
    assert made.snapshot().eta_seconds == pytest.approx(40)


def test_share_and_overhead_are_of_the_time_since_the_first_trial(clock: Clock) -> None:
    cells = [cell(seed=seed) for seed in range(10)]
    made = tally(cells, clock)
    clock.now = 30.0  # Ray starts
    made.set_running(running=2)
    assert made.snapshot().share_in_cells is None
    clock.now = 40.0
    made.record([ended(one, seconds=4.0) for one in cells[:4]])
    now = made.snapshot()
    assert (now.seconds_in_cells, now.slots, now.elapsed) == (16.0, 2, 40.0)
    assert now.share_in_cells == pytest.approx(16 / (2 * 10))
    assert now.overhead_seconds_a_cell == pytest.approx((2 * 10 - 16) / 4)


def test_the_rate_is_that_of_the_last_minute(clock: Clock) -> None:
    cells = [cell(seed=seed) for seed in range(100)]
    made = tally(cells, clock)
    made.set_running(running=2)
    clock.now = 30.0
    made.record([ended(one) for one in cells[:50]])
    assert made.snapshot().cells_per_minute == pytest.approx(100)
    clock.now = 85.0
    made.record([ended(one) for one in cells[50:60]])
    assert made.snapshot().cells_per_minute == pytest.approx(60)
    clock.now = 100.0
    assert made.snapshot().cells_per_minute == pytest.approx(10)
    clock.now = 1000.0
    assert made.snapshot().cells_per_minute == 0


def test_a_snapshot_stays_small(clock: Clock) -> None:
    cells = [
        cell(method=method, noise_rate=rate / 1000, pattern=pattern)
        for rate in range(150)
        for pattern in ("uniform", "flip")
        for method in ("mv", "em")
    ]
    made = tally(cells, clock)
    made.record([ended(one) for one in cells])
    now = made.snapshot()
    assert (len(now.best), now.n_panels) == (N_BEST, 300)
    assert now.best[0].panel == "flip 0.149 noise"  # what changed last
    made = tally(cells, clock)
    made.record([ended(one, ok=False) for one in cells])
    assert [error.cell_id for error in made.snapshot().last_errors] == [one.id for one in cells[: -N_ERRORS - 1 : -1]]
    assert {error.line for error in made.snapshot().last_errors} == {"no traceback"}


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_in_whatever_order_cells_end_the_counts_agree(seed: int, size: int) -> None:
    draw = random.Random(seed)
    cells = [cell(method=m, n_workers=w, seed=s) for m in ("mv", "em", "wawa") for w in (3, 5) for s in range(4)]
    states = [draw.choice(["ok", "failed", None]) for _ in cells]
    done = rows(*((one, state, 0.5) for one, state in zip(cells, states, strict=True) if state is not None))
    todo = [one for one, state in zip(cells, states, strict=True) if state is None or draw.random() < 0.3]
    made = Tally(cells, done, todo, lambda _: 1.0, 2)
    outcomes = [ended(one, ok=draw.random() < 0.8, error=draw.random()) for one in draw.choices(cells, k=size)]
    while outcomes:
        batch = draw.randint(1, len(outcomes))
        made.record(outcomes[:batch])
        del outcomes[:batch]
        now = made.snapshot()
        for values in now.by_axis.values():
            assert sum(count.total for count in values.values()) == now.n_cells
            assert sum(count.done for count in values.values()) == now.n_done
            assert sum(count.failed for count in values.values()) == now.n_failed + now.n_failed_before
        assert now.n_done + now.n_failed + now.n_failed_before + now.n_left <= now.n_cells
        assert (now.eta_seconds is None) == (now.n_left == 0)
        assert Snapshot.from_dict(json.loads(json.dumps(now.to_dict()))) == now


@pytest.mark.parametrize("change", [{"n_cells": ...}, {"surprise": 1}, {"best": [{}]}, {"by_axis": [1]}])
def test_a_snapshot_of_another_version_says_so(change: dict[str, object], clock: Clock) -> None:
    content = {**tally([cell()], clock).snapshot().to_dict(), **change}
    content = {name: value for name, value in content.items() if value is not ...}
    with pytest.raises(ValueError, match="not a snapshot of this version"):
        Snapshot.from_dict(content)
