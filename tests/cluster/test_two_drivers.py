"""Two drivers on one folder at once: every cell is computed once, and right, whichever of them ends first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.nodes import Command, ray_nodes, wait_until
from tests.cluster.results import assert_complete, assert_same, n_attempts

GRID = ["--preset", "labels", "--datasets", "digits", "--patterns", "uniform", "--workers", "3", "--missing-rates", "0"]
GRID += ["--methods", "tests.cells:Slow", "--seeds"]


def seeds(first: int, last: int) -> list[str]:
    return [*GRID, *map(str, range(first, last))]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("alone") / "r"
    command = Command(seeds(0, 30), results, None)
    assert command.wait() == 0, command.output
    return results


@pytest.mark.parametrize("where", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_each_cell_is_computed_once(where: str, alone: Path, tmp_path: Path) -> None:
    results = tmp_path / "r"

    def check(address: str | None) -> None:
        # Neither grid holds the other.
        both = [Command(seeds(0, 24), results, address), Command(seeds(6, 30), results, address)]
        for command in both:
            assert command.wait() == 0, command.output

    if where == "inline":
        check(None)
    else:
        with ray_nodes() as nodes:
            check(nodes.address)
    assert n_attempts(results) == 30
    assert_complete(results, 30)
    assert_same(results, alone)


def test_the_second_takes_over_from_a_first_that_dies(alone: Path, tmp_path: Path) -> None:
    results = tmp_path / "r"
    first = Command(seeds(0, 30), results, None)
    wait_until(lambda: any((results / "runs").glob("*.claims.json")), of=first)
    second = Command(seeds(0, 30), results, None)
    wait_until(lambda: "this one waits for them" in second.output, of=second)
    wait_until(lambda: n_attempts(results) > 0, of=first)
    first.kill()
    assert 0 < n_attempts(results) < 30
    assert second.wait() == 0, second.output
    assert n_attempts(results) == 30
    assert_same(results, alone)
