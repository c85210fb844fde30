from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from crowdml import datasets
from crowdml.experiment.result import CellResult
from crowdml.experiment.run_cell import attempt_cell
from crowdml.learning.recipe import Recipe
from sweeps.running import cell_worker
from sweeps.running.cell_worker import CellWorker
from sweeps.running.checkpoints import FOLDER, WORTHWHILE_SECONDS
from sweeps.store.result_store import ResultsError, ResultStore
from tests.cells import PROVENANCE, cell

CELLS = [cell(method=method, seed=seed) for seed in (0, 1) for method in ("mv", "tests.cells:Raises")]
TRAINS = cell(network="cnn_digits", recipe=Recipe(epochs=1, batch_size=64, lr=0.05), n_train=100)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    made = ResultStore(tmp_path / "results")
    made.create()
    return made


def worker(store: ResultStore, **more: Any) -> CellWorker:
    return CellWorker(store, PROVENANCE, datasets.load, **more)


def todo(*cells: Any, seconds: float = 0.01) -> list[Any]:
    return [(cell, seconds) for cell in reversed(cells)]


def test_it_computes_from_the_end_of_the_list_and_tells_what_it_wrote(store: ResultStore) -> None:
    left = todo(*CELLS)
    ended = worker(store).work(left)
    assert left == []
    assert [(outcome.cell_id, outcome.ok) for outcome in ended.outcomes] == [
        (cell.id, cell.method == "mv") for cell in CELLS
    ]
    assert list(ended.errors) == [cell.id for cell in CELLS if cell.method != "mv"]
    assert all("RuntimeError: a bug in the method" in error for error in ended.errors.values())
    assert store.status() == {cell.id: "ok" if cell.method == "mv" else "failed" for cell in CELLS}


def test_it_stops_to_write_when_it_is_time(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_worker, "FLUSH_SECONDS", 0.0005)
    left = todo(*CELLS)
    works, rows = worker(store), []
    while left:
        works.work(left)
        rows.append(len(store.status()))
    assert rows == [1, 2, 3, 4]


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
    worker(store).work(todo(CELLS[0]))
    assert store.status() == {CELLS[0].id: "ok"}
    n_tries = 0
    monkeypatch.setattr(store, "write", fails(3))
    with pytest.raises(ResultsError, match="no answer"):
        worker(store).work(todo(CELLS[2]))


def test_no_folder_is_made_in_the_place_of_one_that_is_gone(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_worker, "WRITE_AGAIN_SECONDS", (0.0, 0.0))
    shutil.rmtree(store.location)
    with pytest.raises(ResultsError, match=r"results folder .*results is gone: deleted, or .* goes on from what it"):
        worker(store).work(todo(CELLS[0]))
    assert not Path(store.location).exists()


@pytest.mark.parametrize(("seconds", "keeps"), [(WORTHWHILE_SECONDS - 1, False), (WORTHWHILE_SECONDS, True)])
def test_only_long_trainings_keep_checkpoints(seconds: float, keeps: bool, store: ResultStore) -> None:
    folders: list[Path | None] = []

    def compute(cell: Any, data: Any, shared: Any, checkpoints: Path | None) -> CellResult:
        folders.append(checkpoints)
        result = attempt_cell(cell, data, shared=shared, checkpoints=checkpoints)
        assert checkpoints is None or (checkpoints / "training-000.pt").exists()
        return result

    worker(store, compute=compute).work(todo(TRAINS, CELLS[0], seconds=seconds))
    folder = Path(store.location, FOLDER, TRAINS.id)
    assert folders == [folder if keeps else None, None]
    # There is a row now.
    assert not folder.exists()


def test_a_cell_starts_anew_where_its_checkpoint_is_damaged(store: ResultStore) -> None:
    folder = Path(store.location, FOLDER, TRAINS.id)
    folder.mkdir(parents=True)
    (folder / "training-000.pt").write_bytes(b"half a sta")
    (folder / "curves.jsonl").write_text('\n[7, "test_accuracy", 0.5]')
    ended = worker(store).work(todo(TRAINS, seconds=100))
    assert ended.errors == {}
    assert set(store.read("curves")["step"]) == {1}
    assert not folder.exists()
