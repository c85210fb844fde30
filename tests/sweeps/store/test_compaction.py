"""Compaction, alone and while others read, write and compact."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pyarrow as pa
import pytest

from crowdml.experiment.result import failed
from sweeps.store import compaction
from sweeps.store.compaction import compact
from sweeps.store.parts import ResultsError
from sweeps.store.result_store import ResultStore
from sweeps.store.schema import TABLES
from tests.cells import PROVENANCE, cell, result


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    made = ResultStore(tmp_path / "results")
    made.create()
    return made


def n_files(store: ResultStore) -> dict[str, int]:
    return {table: len(store.parts(table)) for table in TABLES}


def everything(store: ResultStore) -> dict[str, list[list[object]]]:
    """The rows of every attempt, in one order."""
    return {table: sorted(map(list, store.read_rows(table).to_pandas().astype(str).to_numpy())) for table in TABLES}


def test_it_changes_no_row(store: ResultStore) -> None:
    for seed in range(5):
        store.write([result(seed=seed), failed(cell(seed=seed), "Traceback: oh")], PROVENANCE)
    before = everything(store)
    done = compact(store)
    assert (done.before, done.after, done.dropped) == (dict.fromkeys(TABLES, 5), dict.fromkeys(TABLES, 1), 0)
    assert n_files(store) == dict.fromkeys(TABLES, 1)
    assert everything(store) == before


def test_a_second_one_finds_nothing_to_do(store: ResultStore) -> None:
    for seed in range(3):
        store.write([result(seed=seed)], PROVENANCE)
    compact(store)
    paths = [part.path for part in store.parts("cells")]
    compact(store)
    assert [part.path for part in store.parts("cells")] == paths


def test_files_grow_to_a_size_and_large_ones_are_left_alone(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "FILE_ROWS", 4)
    for n_rows in (5, 1, 2, 3, 1, 1):
        store.write([result(seed=10 * n_rows + number) for number in range(n_rows)], PROVENANCE)
    large = store.parts("cells")[0].path
    before = everything(store)
    compact(store)
    assert [store.read_part("cells", part)[0].num_rows for part in store.parts("cells")] == [5, 1, 3, 4]
    assert store.parts("cells")[0].path == large
    assert everything(store) == before


def test_superseded_attempts_go_only_when_asked(store: ResultStore) -> None:
    store.write([failed(cell(seed=1), "Traceback: oh"), result(seed=2)], PROVENANCE)
    store.write([result(seed=1)], PROVENANCE)
    store.write([result(seed=1)], PROVENANCE)
    best = store.read_cells().sort_values("seed", ignore_index=True)
    assert compact(store).dropped == 0
    assert len(store.attempts()) == 4
    done = compact(store, drop_superseded=True)
    assert done.dropped == 2 + 2 + 2  # two rows of cells; two points of a curve and two workers of one of them
    assert sorted(store.attempts().values()) == sorted([cell(seed=1).id, cell(seed=2).id])
    assert store.read_cells().sort_values("seed", ignore_index=True).equals(best)
    assert set(store.read_rows("curves")["attempt"].to_pylist()) == set(best["attempt"])


def test_a_damaged_file_is_left_as_it_is_and_named(store: ResultStore) -> None:
    for seed in range(3):
        store.write([result(seed=seed)], PROVENANCE)
    broken = Path(store.parts("cells")[1].path)
    broken.write_bytes(b"half a fi")
    done = compact(store)
    assert [part.path for part in done.damaged] == [str(broken)]
    assert broken.exists()
    assert sorted(ResultStore(store.location, damaged="skip").read_cells()["seed"]) == [0, 2]


def test_columns_of_a_newer_release_are_not_lost(store: ResultStore) -> None:
    store.write([result(seed=1)], PROVENANCE)
    rows = store.read_rows("cells")
    store.write_rows("cells", rows.append_column("carbon", pa.array([1.0])))
    with pytest.raises(ResultsError, match=r"columns that this version of crowdml does not know \(carbon\)"):
        compact(store)
    assert n_files(store)["cells"] == 2
    assert len(store.read_cells()) == 1


@pytest.mark.parametrize("stage", ["write_rows", "delete"])
def test_an_interruption_loses_nothing_and_the_next_one_tidies_up(
    store: ResultStore, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        store.write([result(seed=seed)], PROVENANCE)
    before = everything(store)
    best = {table: store.read(table) for table in TABLES}

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, stage, interrupt)
        with pytest.raises(KeyboardInterrupt):
            compact(store)
    for table, frame in best.items():
        assert len(store.read(table)) == len(frame)
    assert compact(store).after == dict.fromkeys(TABLES, 1)
    assert everything(store) == before


def test_two_at_once_double_nothing_for_a_reader(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second starts when the first has written its file and deleted nothing yet, and ends before it goes on."""
    for seed in range(3):
        store.write([result(seed=seed)], PROVENANCE)
    before = everything(store)
    delete = store.delete
    second = iter([lambda: compact(ResultStore(store.location))])

    def delete_after_the_second(path: str) -> None:
        next(second, lambda: None)()
        delete(path)

    monkeypatch.setattr(store, "delete", delete_after_the_second)
    compact(store)
    assert {table: len(store.read(table)) for table in TABLES} == {"cells": 3, "curves": 6, "workers": 6}
    assert len(store.attempts()) == 3
    monkeypatch.undo()
    compact(store)
    assert everything(store) == before


def _compact_often(location: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        compact(ResultStore(location), drop_superseded=True)


def _write_many(location: str, start: int) -> None:
    store = ResultStore(location)
    for seed in range(start, start + 15):
        store.write([failed(cell(seed=seed), "Traceback: oh")], PROVENANCE)
        store.write([result(seed=seed)], PROVENANCE)


def test_writers_readers_and_compactions_at_once_lose_nothing(store: ResultStore) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write_many, args=(store.location, 15 * n)) for n in range(2)]
    processes += [context.Process(target=_compact_often, args=(store.location, 3.0)) for _ in range(2)]
    for process in processes:
        process.start()
    seen = 0
    while any(process.is_alive() for process in processes):
        n_cells = len(store.status())
        assert n_cells >= seen
        seen = n_cells
    assert [process.exitcode for process in processes] == [0] * 4
    cells = store.read_cells()
    assert sorted(cells["seed"]) == list(range(30))
    assert set(cells["status"]) == {"ok"}
    assert len(store.read("curves")) == 60
    compact(store, drop_superseded=True)
    assert {table: store.read_rows(table).num_rows for table in TABLES} == {"cells": 30, "curves": 60, "workers": 60}
