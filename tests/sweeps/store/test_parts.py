"""Files that are damaged, vanish or cannot be reached."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from sweeps.store.parts import NO_RUN, DamagedPartError, Part, ResultsError, encode, list_parts, read_part
from sweeps.store.provenance import Provenance
from sweeps.store.result_store import ResultStore
from sweeps.store.schema import TABLES, to_tables
from tests.cells import PROVENANCE, cell, result

LOCAL = fs.LocalFileSystem()
CELLS = TABLES["cells"]
ROWS = to_tables([result(seed=seed) for seed in range(3)], ["a", "b", "c"], PROVENANCE)["cells"]
NAME, CONTENT = encode(ROWS)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """Two files of cells, curves and workers each; seeds 0 and 1."""
    made = ResultStore(tmp_path / "results")
    made.create()
    for seed in range(2):
        made.write([result(seed=seed)], PROVENANCE)
    return made


def first(store: ResultStore, table: str = "cells") -> Path:
    return Path(store.parts(table)[0].path)


def test_a_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    assert read_part(LOCAL, str(tmp_path / NAME), CELLS).equals(ROWS)
    assert [Path(part.path).name for part in list_parts(LOCAL, str(tmp_path))] == [NAME]


@given(place=st.integers(0, CONTENT.size - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(place: int, bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = bytearray(CONTENT)
    content[place] ^= 1 << bit
    path = tmp_path_factory.mktemp("part") / NAME
    path.write_bytes(content)
    with pytest.raises(DamagedPartError, match=NAME):
        read_part(LOCAL, str(path), CELLS)


@given(size=st.integers(0, CONTENT.size - 1))
def test_any_truncation_is_found(size: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("part") / NAME
    path.write_bytes(CONTENT[:size])
    with pytest.raises(DamagedPartError, match="differ from the bytes that were written"):
        read_part(LOCAL, str(path), CELLS)


def test_a_file_with_another_name_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "part-1.parquet").write_bytes(CONTENT)
    with pytest.raises(DamagedPartError, match=r"part-1.parquet: its name is not the name of a part"):
        read_part(LOCAL, str(tmp_path / "part-1.parquet"), CELLS)


def test_the_name_of_a_part_says_which_run_wrote_it() -> None:
    for writer in ("20261128-144440-ab12", None, "0123456789abcdef"):
        name, _ = encode(ROWS, writer)
        assert Part(f"folder/{name}", 1).writer == (writer or NO_RUN)
    assert Part("folder/part-1.parquet", 1).writer is None


def test_pages_have_checksums(tmp_path: Path) -> None:
    """Flip one bit in the middle of a page: only a checksum can tell."""
    rows = pa.table({"x": pa.array(range(10_000), pa.int64())})
    _, content = encode(rows)
    changed = bytearray(content)
    changed[content.size // 2] ^= 1
    with pytest.raises((OSError, pa.ArrowException)):
        pq.ParquetFile(pa.BufferReader(bytes(changed)), page_checksum_verification=True).read()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"half a fi", pickle.dumps({"a": 1})])
def test_what_is_no_parquet_is_damaged(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(DamagedPartError):
        read_part(LOCAL, str(path), CELLS)


def test_a_damaged_file_is_an_error_with_the_way_out(store: ResultStore) -> None:
    part = first(store)
    part.write_bytes(part.read_bytes()[:-1])
    for read in (store.read_cells, store.status, store.attempts, lambda: store.read("curves")):
        with pytest.raises(ResultsError, match=rf"{part.name}.*crowdml results verify RESULTS --repair") as error:
            read()
        assert pickle.loads(pickle.dumps(error.value)).path == str(part)


def test_a_run_may_take_the_cells_of_a_damaged_file_as_not_there(store: ResultStore) -> None:
    part = first(store)
    before = part.read_bytes()
    part.write_bytes(before[:100])
    resumed = ResultStore(store.location, damaged="skip")
    assert resumed.damaged_parts == []
    assert resumed.read_cells()["seed"].tolist() == [1]
    assert resumed.status() == {cell(seed=1).id: "ok"}
    assert list(resumed.attempts().values()) == [cell(seed=1).id]
    assert resumed.read("curves")["cell_id"].unique().tolist() == [cell(seed=1).id]
    assert [damaged.path for damaged in resumed.damaged_parts] == [str(part)]
    assert part.read_bytes() == before[:100]
    resumed.write([result(seed=0)], PROVENANCE)
    assert sorted(resumed.read_cells()["seed"]) == [0, 1]


def test_a_damaged_file_of_curves_costs_no_cell(store: ResultStore) -> None:
    part = first(store, "curves")
    part.write_bytes(b"x")
    assert len(store.read_cells()) == 2
    with pytest.raises(DamagedPartError):
        store.read("curves")
    resumed = ResultStore(store.location, damaged="skip")
    assert resumed.read("curves")["cell_id"].unique().tolist() == [cell(seed=1).id]
    assert len(resumed.damaged_parts) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_damaged(store: ResultStore) -> None:
    first(store).chmod(0)
    with pytest.raises(ResultsError, match="Permission denied"):
        ResultStore(store.location, damaged="skip").read_cells()


def test_an_error_of_the_storage_is_not_damage(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("When reading: network down")

    resumed = ResultStore(store.location, damaged="skip")
    monkeypatch.setattr(resumed, "_filesystem", _Broken(resumed._filesystem, unreachable))
    with pytest.raises(ResultsError, match="network down"):
        resumed.read_cells()
    assert resumed.damaged_parts == []


class _Broken:
    """A file system that lists files and cannot open them."""

    def __init__(self, inner: fs.FileSystem, opened: object) -> None:
        self.get_file_info, self.open_input_file = inner.get_file_info, opened


def test_a_file_that_a_compaction_deletes_meanwhile_is_read_from_where_its_rows_went(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = store.parts("cells")
    moved = store.read_rows("cells")
    store.write_rows("cells", moved)
    for part in listed:
        store.delete(part.path)
    lists = iter([listed])
    monkeypatch.setattr(store, "parts", lambda table: next(lists, None) or ResultStore(store.location).parts(table))
    assert sorted(store.read_cells()["seed"]) == [0, 1]


def test_files_that_keep_vanishing_end_in_an_error(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = store.parts("cells")
    store.delete(gone[0].path)
    monkeypatch.setattr(store, "parts", lambda table: gone)
    monkeypatch.setattr("sweeps.store.result_store.time.sleep", lambda seconds: None)
    with pytest.raises(ResultsError, match="vanish while they are read"):
        store.read_cells()


def test_new_rows_are_read_once_and_those_of_a_run_are_left_out(store: ResultStore) -> None:
    known = {part.name for part in store.parts("cells")}
    for seed, run_id in ((2, "a"), (3, "b"), (4, None)):
        store.write([result(seed=seed)], replace(PROVENANCE, run_id=run_id))
    before = set(known)

    def seeds(known: set[str], **more: str) -> list[int]:
        return sorted(store.read_new_rows("cells", ["seed"], known, **more)["seed"].to_numpy().tolist())

    assert seeds(known, skip_writer="a") == [3, 4]
    assert seeds(known, skip_writer="a") == []
    assert seeds(known) == [2]
    assert seeds(before) == [2, 3, 4]
    assert before == known == {part.name for part in store.parts("cells")}


def test_constants_of_a_run_may_be_empty() -> None:
    nothing = Provenance(git_commit=None, git_dirty=None, versions={})
    assert to_tables([result()], ["a"], nothing)["cells"]["git_commit"].to_pylist() == [None]
