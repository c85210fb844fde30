from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crowdml import datasets
from crowdml.experiment.cell import Cell
from crowdml.experiment.result import CellResult
from crowdml.experiment.run_cell import attempt_cell
from crowdml.learning.recipe import Recipe
from sweeps.running import cell_worker
from sweeps.running.cell_worker import CellWorker
from sweeps.running.checkpoints import FOLDER, WORTHWHILE_SECONDS
from sweeps.running.gained_cells import Before, look_before
from sweeps.store.compaction import compact
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.watching.tally import Outcome
from tests.cells import PROVENANCE, cell

MINE = replace(PROVENANCE, run_id="mine")

CELLS = [cell(method=method, seed=seed) for seed in (0, 1) for method in ("mv", "tests.cells:Raises")]
TRAINS = cell(network="cnn_digits", recipe=Recipe(epochs=1, batch_size=64, lr=0.05), n_train=100)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    made = ResultStore(tmp_path / "results")
    made.create()
    return made


def worker(
    store: ResultStore, *cells: Cell, seconds: float = 0.01, before: Before | None = None, **more: Any
) -> CellWorker:
    """A worker that has taken a shard of these cells."""
    made = CellWorker(store, MINE, datasets.load, before or look_before(store, again=False), **more)
    made.take([(one, seconds) for one in cells])
    return made


def add(store: ResultStore, *cells: Cell, **changes: Any) -> None:
    """Another run computes cells."""
    results = [replace(attempt_cell(one, datasets.load("digits")), **changes) for one in cells]
    store.write(results, replace(PROVENANCE, run_id="another"))


def test_it_computes_the_cells_in_order_and_tells_what_it_wrote(store: ResultStore) -> None:
    works = worker(store, *CELLS)
    assert not works.is_done
    outcomes = works.work()
    assert works.is_done
    assert [(outcome.cell_id, outcome.ok, outcome.own) for outcome in outcomes] == [
        (cell.id, cell.method == "mv", True) for cell in CELLS
    ]
    assert [outcome.error for outcome in outcomes] == [
        None if cell.method == "mv" else "RuntimeError: a bug in the method" for cell in CELLS
    ]
    assert store.status() == {cell.id: "ok" if cell.method == "mv" else "failed" for cell in CELLS}


def test_it_stops_to_write_when_it_is_time(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_worker, "FLUSH_SECONDS", 0.0005)
    works, rows = worker(store, *CELLS), []
    while not works.is_done:
        works.work()
        rows.append(len(store.status()))
    assert rows == [1, 2, 3, 4]


def test_a_shard_skips_what_another_run_has_computed_since_the_run_began(store: ResultStore) -> None:
    before = look_before(store, again=False)
    add(store, CELLS[2], aggregation_error=0.125, seconds=7.0)
    add(store, CELLS[1])
    computed: list[Cell] = []

    def compute(one: Cell, *arguments: Any) -> CellResult:
        computed.append(one)
        return attempt_cell(one, arguments[0])

    outcomes = worker(store, *CELLS, before=before, compute=compute).work()
    assert computed == [CELLS[0], CELLS[3]]
    assert len(store.attempts()) == 4
    assert {outcome.cell_id: outcome.own for outcome in outcomes} == {
        one.id: one in (CELLS[0], CELLS[3]) for one in CELLS
    }
    theirs = {outcome.cell_id: outcome for outcome in outcomes if not outcome.own}
    assert theirs[CELLS[2].id] == Outcome(CELLS[2].id, True, 7.0, 0.125, None, None, own=False)
    assert theirs[CELLS[1].id].error == "RuntimeError: a bug in the method"


def test_what_others_compute_during_a_long_shard_is_skipped_too(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_worker, "FLUSH_SECONDS", 0.0005)
    monkeypatch.setattr(cell_worker, "LOOK_SHARE", float("inf"))
    works = worker(store, *CELLS)
    works.work()
    add(store, *CELLS[1:])
    assert [outcome.own for outcome in works.work()] == [False] * 3
    assert works.is_done


def test_within_a_shard_looking_takes_a_small_share_of_the_time(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_worker, "FLUSH_SECONDS", 0.0005)
    monkeypatch.setattr(cell_worker, "LOOK_SHARE", 1e-6)
    works = worker(store, *CELLS)
    looks = 0
    look = works._gained.look

    def counted() -> None:
        nonlocal looks
        looks += 1
        look()

    monkeypatch.setattr(works._gained, "look", counted)
    while not works.is_done:
        works.work()
    assert looks == 1
    works.take([(CELLS[0], 0.01)])
    works.work()
    assert looks == 2


def test_storage_that_cannot_be_read_for_a_moment_does_not_end_a_shard(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(table: str) -> None:
        raise ResultsError("no answer")

    works = worker(store, *CELLS)
    with monkeypatch.context() as patched:
        patched.setattr(store, "parts", unreachable)
        works.work()
    assert works.is_done
    assert len(store.attempts()) == len(CELLS)


def test_a_run_that_computes_cells_again_skips_only_new_rows(store: ResultStore) -> None:
    add(store, CELLS[0], CELLS[1])
    before = look_before(store, again=True)
    compact(store)  # a new file with old rows
    add(store, CELLS[0])
    assert [outcome.own for outcome in worker(store, *CELLS[:2], before=before).work()] == [False, True]


def test_a_training_that_another_run_has_ended_meanwhile_is_not_written_again(store: ResultStore) -> None:
    def compute(one: Cell, data: Any, *arguments: Any) -> CellResult:
        add(store, one)
        return attempt_cell(one, data)

    (outcome,) = worker(store, TRAINS, seconds=100, compute=compute).work()
    assert not outcome.own
    assert len(store.attempts()) == 1


def test_a_writing_that_fails_is_tried_again(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_worker, "WRITE_AGAIN_SECONDS", (0.0, 0.0))
    write, n_tries = store.write, 0

    def fails(times: int) -> Any:
        def once(*arguments: Any) -> None:
            nonlocal n_tries
            n_tries += 1
            if n_tries <= times:
                raise ResultsError("no answer")
            write(*arguments)

        return once

    monkeypatch.setattr(store, "write", fails(2))
    worker(store, CELLS[0]).work()
    assert store.status() == {CELLS[0].id: "ok"}
    n_tries = 0
    monkeypatch.setattr(store, "write", fails(3))
    with pytest.raises(ResultsError, match="no answer"):
        worker(store, CELLS[2]).work()


def test_no_folder_is_made_in_the_place_of_one_that_is_gone(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_worker, "WRITE_AGAIN_SECONDS", (0.0, 0.0))
    works = worker(store, CELLS[0])
    shutil.rmtree(store.location)
    with pytest.raises(
        ResultsError, match=r"results folder .*results is gone: it was deleted, or .* run the same command again"
    ):
        works.work()
    assert not Path(store.location).exists()


@pytest.mark.parametrize(("seconds", "keeps"), [(WORTHWHILE_SECONDS - 1, False), (WORTHWHILE_SECONDS, True)])
def test_only_long_trainings_keep_checkpoints(seconds: float, keeps: bool, store: ResultStore) -> None:
    folders: list[Path | None] = []

    def compute(cell: Any, data: Any, shared: Any, checkpoints: Path | None) -> CellResult:
        folders.append(checkpoints)
        result = attempt_cell(cell, data, shared=shared, checkpoints=checkpoints)
        assert checkpoints is None or (checkpoints / "training-000.pt").exists()
        return result

    worker(store, TRAINS, CELLS[0], seconds=seconds, compute=compute).work()
    folder = Path(store.location, FOLDER, TRAINS.id)
    assert folders == [folder if keeps else None, None]
    # There is a row now.
    assert not folder.exists()


def test_a_cell_starts_anew_where_its_checkpoint_is_damaged(store: ResultStore) -> None:
    folder = Path(store.location, FOLDER, TRAINS.id)
    folder.mkdir(parents=True)
    (folder / "training-000.pt").write_bytes(b"half a sta")
    (folder / "curves.jsonl").write_text('\n[7, "test_accuracy", 0.5]')
    (outcome,) = worker(store, TRAINS, seconds=100).work()
    assert outcome.ok
    assert set(store.read("curves")["step"]) == {1}
    assert not folder.exists()
