"""A clock that jumps: the same results, and nothing lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweeps.store.result_store import ResultStore
from tests.cluster.nodes import Command
from tests.cluster.results import assert_complete, assert_same, n_attempts

GRID = ["--preset", "labels", "--datasets", "digits", "--patterns", "uniform", "--workers", "3", "--missing-rates", "0"]
GRID += ["--methods", "tests.cells:Slow", "--seeds"]


@pytest.mark.slow
def test_a_clock_that_jumps_between_runs_and_within_one(tmp_path: Path) -> None:
    results, alone = tmp_path / "r", tmp_path / "alone"
    all_seeds = list(map(str, range(24)))
    undisturbed = Command([*GRID, *all_seeds], alone, None)
    first = Command([*GRID, *all_seeds[:4]], results, None)
    assert first.wait() == 0, first.output
    before = ResultStore(results).attempts()
    second = Command([*GRID, *all_seeds], results, None, script="tests/cluster/false_clock.py")
    assert second.wait() == 0, second.output
    assert undisturbed.wait() == 0, undisturbed.output

    assert n_attempts(results) == 24
    assert_complete(results, 24)
    assert_same(results, alone)
    rows = ResultStore(results).read_cells()
    old = rows["attempt"].isin(list(before))
    # The clock did jump: later rows are from before the first run, and from long after it.
    assert (rows["finished_at"][~old].min() - rows["finished_at"][old].max()).total_seconds() < -80_000
    assert (rows["finished_at"][~old].max() - rows["finished_at"][old].max()).total_seconds() > 80_000
    # Neither the time that has passed nor the one that is left is a day, or negative.
    assert not re.search(r"\d+:\d\d:\d\d|-\d+:\d\d", second.output), second.output
    assert re.search(r"24/24 cells · 0 running · 0 failed · 00:\d\d elapsed", second.output), second.output
    third = Command([*GRID, *all_seeds], results, None)
    assert third.wait() == 0
    assert "all 24 cells are done; nothing to compute" in third.output
