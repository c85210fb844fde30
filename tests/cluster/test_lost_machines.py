"""Processes, machines and drivers are lost at random moments: every cell is there once, as if nothing had happened."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.cluster.nodes import Command, Nodes, ray_nodes, wait_until
from tests.cluster.processes import end
from tests.cluster.results import assert_complete, assert_same, n_attempts

GRID = """
[[block]]
extends = "labels"
datasets = ["digits"]
patterns = ["uniform"]
missing_rates = [0.0]
workers = [3]
methods = ["tests.cells:Slow", "mv", "em"]
seeds = {seeds}

[[block]]
extends = "laptop"
patterns = ["uniform"]
workers = [3]
methods = ["labnet"]
seeds = {training_seeds}
epochs = 2
n_train = 200
"""
IN_HAND = 16
"""Cells that the two processes of a driver that is killed may still write after the next one has looked: two seconds
of them, and the one in hand."""


def write_grid(folder: Path, n_seeds: int, n_trainings: int) -> tuple[list[str], int]:
    """The arguments of a grid, and its number of cells."""
    file = folder / "grid.toml"
    file.write_text(GRID.format(seeds=list(range(n_seeds)), training_seeds=list(range(n_trainings))))
    return ["--grid", str(file), "--allow-imports"], 3 * n_seeds + n_trainings


class Disturber:
    """Runs the command, and ends what it runs on.

    Args:
        nodes: of the cluster.
        arguments: of the command.
        results: its results folder.
        draw: decides what is hit.
    """

    def __init__(self, nodes: Nodes, arguments: list[str], results: Path, draw: random.Random) -> None:
        self._nodes, self._arguments, self._results, self._draw = nodes, arguments, results, draw
        self._start = time.monotonic()
        self.log: list[str] = []
        self.command = self._command()

    def disturb(self, kind: str, n_cells: int) -> None:
        """Once so many cells are there and a process computes others, lose a trial's process, its node, or the driver.

        A node that is lost is replaced by a new one.
        """
        wait_until(lambda: n_attempts(self._results) >= n_cells and self._nodes.trials(), of=self.command)
        time.sleep(self._draw.uniform(0, 1))
        trials = self._nodes.trials()
        if kind == "driver":
            self.command.kill()
            self.command = self._command()
        elif kind == "node":
            self._nodes.lose(self._draw.choice(trials)[1] if trials else self._draw.choice(self._nodes.workers))
            self._nodes.add()
        elif trials:
            end([self._draw.choice(trials)[0]])
        seconds = time.monotonic() - self._start
        self.log.append(f"{seconds:.1f} s: {kind} lost of {len(trials)}, {n_attempts(self._results)} cells there")

    def _command(self) -> Command:
        return Command(self._arguments, self._results, self._nodes.address)


def check(folder: Path, kinds: list[str], *, n_seeds: int, n_trainings: int, seed: int) -> str:
    """Compare a run in which these are lost with one that nothing disturbs; returns what happened."""
    arguments, n_cells = write_grid(folder, n_seeds, n_trainings)
    results, undisturbed = folder / "r", folder / "undisturbed"
    alone = Command(arguments, undisturbed, None)
    with ray_nodes() as nodes:
        disturber = Disturber(nodes, arguments, results, random.Random(seed))
        try:
            for number, kind in enumerate(kinds, 1):
                disturber.disturb(kind, n_cells * number // (len(kinds) + 4))
            assert disturber.command.wait() == 0, disturber.command.output
            assert alone.wait() == 0, alone.output
            assert_complete(results, n_cells)
            assert_same(results, undisturbed)
            twice = n_attempts(results) - n_cells
            assert twice <= IN_HAND * kinds.count("driver")
        except BaseException:
            print(*disturber.log, sep="\n")
            raise
        finally:
            disturber.command.kill()
            alone.kill()
    return f"{n_cells} cells, {len(disturber.log)} losses, {twice} cells computed twice"


def test_one_loss_of_each_kind(tmp_path: Path) -> None:
    check(tmp_path, ["trial", "driver", "node"], n_seeds=24, n_trainings=1, seed=5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [0])
def test_twenty_losses(seed: int, tmp_path: Path) -> None:
    kinds = ["trial"] * 10 + ["node"] * 5 + ["driver"] * 5
    random.Random(seed).shuffle(kinds)
    print(check(tmp_path, kinds, n_seeds=110, n_trainings=4, seed=seed))
