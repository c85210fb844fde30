"""Two runs on one folder, seen from one of them; `tests/cluster/test_two_drivers.py` has two real ones."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from crowdml.experiment.cell import Cell
from sweeps.running import taking_turns
from sweeps.running.taking_turns import compute_in_turn, without_new_attempt
from sweeps.store.result_store import ResultStore
from sweeps.watching.progress import Progress
from sweeps.watching.run_record import announce
from sweeps.watching.tally import Tally
from tests.cells import PROVENANCE, cell, result

CELLS = [cell(seed=seed) for seed in range(6)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    monkeypatch.setattr(taking_turns, "LOOK_SECONDS", 0.05)
    made = ResultStore(tmp_path / "r")
    made.create()
    return made


def write(store: ResultStore, cells: Sequence[Cell], **changes: object) -> None:
    store.write([result(seed=made.seed) for made in cells], PROVENANCE)


def run(store: ResultStore, todo: Sequence[Cell], compute, before=None) -> tuple[str, Progress]:
    text = StringIO()
    console = Console(file=text, width=200)
    progress = Progress(console, Tally(CELLS, store.read_cells(), [], lambda made: 1.0, 1))
    with announce(store, "mine", "command", todo) as record, progress:
        compute_in_turn(
            compute, todo, record=record, store=store, before=before or {}, progress=progress, console=console
        )
    return text.getvalue(), progress


def test_alone_a_run_computes_everything(store: ResultStore) -> None:
    computed: list[Cell] = []

    def compute(cells: Sequence[Cell]) -> None:
        computed.extend(cells)
        write(store, cells)

    run(store, CELLS, compute)
    assert computed == CELLS


def test_cells_of_a_live_run_are_left_to_it_and_counted(store: ResultStore) -> None:
    looks: list[int] = []
    with announce(store, "another", "command", CELLS[:4]):

        def compute(cells: Sequence[Cell]) -> None:
            assert list(cells) == CELLS[4:]
            write(store, cells)
            write(store, CELLS[:3])  # by the other run

        def sleep(seconds: float) -> None:
            looks.append(len(store.attempts()))
            write(store, CELLS[3:4])

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(taking_turns.time, "sleep", sleep)
            text, progress = run(store, CELLS, compute)
    assert looks == [5]
    assert "4 cells are computed by run another; this one waits for them" in text
    # The other run's; its own are recorded by whoever computes them.
    assert progress.snapshot().n_ok == 4


def test_what_a_dead_run_leaves_is_taken_over(store: ResultStore) -> None:
    rounds: list[list[Cell]] = []

    def compute(cells: Sequence[Cell]) -> None:
        rounds.append(list(cells))
        write(store, cells)
        if len(rounds) == 1:
            write(store, CELLS[:1])
            other.__exit__(None, None, None)  # it ends with three of its cells undone

    other = announce(store, "another", "command", CELLS[:4])
    other.__enter__()
    run(store, CELLS, compute)
    assert rounds == [CELLS[4:], CELLS[1:4]]


def test_cells_that_were_computed_meanwhile_are_not_computed_again(store: ResultStore) -> None:
    """By a run that ended between the plan and the announcement."""
    before = store.attempts()
    write(store, CELLS[:5])
    rounds: list[list[Cell]] = []
    run(store, CELLS, lambda cells: (rounds.append(list(cells)), write(store, cells))[0], before)
    assert rounds == [CELLS[5:]]


def test_an_old_attempt_is_no_answer(store: ResultStore) -> None:
    write(store, CELLS[:2])
    before = store.attempts()
    assert without_new_attempt(store, CELLS, before) == CELLS
    write(store, CELLS[1:3])
    assert without_new_attempt(store, CELLS, before) == [CELLS[0], *CELLS[3:]]
