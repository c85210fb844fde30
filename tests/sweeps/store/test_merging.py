from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crowdml.experiment.result import failed
from sweeps.store.merging import merge
from sweeps.store.parts import DamagedPartError
from sweeps.store.result_store import ResultStore
from sweeps.store.schema import TABLES
from tests.cells import PROVENANCE, cell, result


def filled(path: Path, *seeds: int, commit: str = "abc") -> ResultStore:
    store = ResultStore(path)
    store.create()
    for seed in seeds:
        store.write([result(seed=seed)], replace(PROVENANCE, git_commit=commit))
    return store


def n_rows(store: ResultStore) -> dict[str, int]:
    return {table: store.read_rows(table).num_rows for table in TABLES}


def test_the_union_has_every_attempt_once_with_where_it_comes_from(tmp_path: Path) -> None:
    a, b = filled(tmp_path / "a", 1, 2, commit="a"), filled(tmp_path / "b", 2, 3, commit="b")
    b.write([failed(cell(seed=1), "Traceback: oh")], PROVENANCE)
    target = ResultStore((tmp_path / "c").as_uri())
    assert merge([a, b], target) == {"cells": 5, "curves": 8, "workers": 8}
    assert target.attempts() == a.attempts() | b.attempts()
    cells = target.read_cells().set_index("seed")
    assert cells["status"].to_dict() == {1: "ok", 2: "ok", 3: "ok"}
    assert cells["git_commit"].to_dict() == {1: "a", 2: "b", 3: "b"}
    assert len(target.read("curves")) == len(target.read("workers")) == 6


def test_again_it_adds_only_what_is_new(tmp_path: Path) -> None:
    a, target = filled(tmp_path / "a", 1), ResultStore(tmp_path / "c")
    merge([a, a], target)
    once = n_rows(target)
    assert once == {"cells": 1, "curves": 2, "workers": 2}
    assert merge([a, target], target) == dict.fromkeys(TABLES, 0)
    a.write([result(seed=2)], PROVENANCE)
    assert merge([a], target) == once
    assert len(target.read_cells()) == 2


@pytest.mark.parametrize("n_written", [1, 2, 3, 4, 5])
def test_an_interrupted_one_is_finished_by_the_next(
    tmp_path: Path, n_written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, target = filled(tmp_path / "a", 1, 2), ResultStore(tmp_path / "c")
    target.create()
    calls = iter(range(n_written))
    write = target.write_rows

    def write_some(table: str, rows: object) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        write(table, rows)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patched:
        patched.setattr(target, "write_rows", write_some)
        with pytest.raises(KeyboardInterrupt):
            merge([a], target)
    merge([a], target)
    assert n_rows(target) == n_rows(a)


def test_a_damaged_source_is_named_and_no_cell_of_it_half_copied(tmp_path: Path) -> None:
    a, target = filled(tmp_path / "a", 1), ResultStore(tmp_path / "c")
    Path(a.parts("cells")[0].path).write_bytes(b"x")
    with pytest.raises(DamagedPartError, match="verify RESULTS --repair"):
        merge([a], target)
    assert target.read_cells().empty
