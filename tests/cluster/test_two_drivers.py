"""Two drivers on one folder at once: both finish, nothing is lost, and a reader sees every cell once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.nodes import Command, ray_nodes, wait_until
from tests.cluster.results import assert_complete, assert_same, n_attempts

GRID = ["--preset", "labels", "--datasets", "digits", "--patterns", "uniform", "--workers", "3", "--missing-rates", "0"]
GRID += ["--methods", "tests.cells:Slow", "--seeds"]
IN_HAND = 8
"""Cells of 0.3 s that a process computes between two looks at what others have computed, and the cell in hand."""


def seeds(first: int, last: int) -> list[str]:
    return [*GRID, *map(str, range(first, last))]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("alone") / "r"
    command = Command(seeds(0, 60), results, None)
    assert command.wait() == 0, command.output
    return results


@pytest.mark.parametrize("where", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_both_finish_and_each_skips_what_the_other_has_computed(where: str, alone: Path, tmp_path: Path) -> None:
    results = tmp_path / "r"

    def check(address: str | None, n_processes: int) -> None:
        # Neither grid holds the other.
        first = Command(seeds(0, 48), results, address)
        wait_until(lambda: any((results / "runs").glob("*.json")), of=first)
        second = Command(seeds(12, 60), results, address)
        for command in (first, second):
            assert command.wait() == 0, command.output
        assert "is at work on this folder too; this run skips the cells that it finishes" in second.output
        assert "is at work" not in first.output
        assert n_attempts(results) - 60 <= n_processes * IN_HAND

    if where == "inline":
        check(None, 2)
    else:
        with ray_nodes() as nodes:
            check(nodes.address, 2)
    assert_complete(results, 60)
    assert_same(results, alone)


def test_a_second_driver_finishes_when_the_first_dies(alone: Path, tmp_path: Path) -> None:
    results = tmp_path / "r"
    first = Command(seeds(0, 60), results, None)
    wait_until(lambda: n_attempts(results) > 0, of=first)
    second = Command(seeds(0, 60), results, None)
    wait_until(lambda: "is at work on this folder too" in second.output, of=second)
    first.kill()
    assert 0 < n_attempts(results) < 60
    assert second.wait() == 0, second.output
    assert n_attempts(results) - 60 <= IN_HAND
    assert_complete(results, 60)
    assert_same(results, alone)
