from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from crowdml.experiment.result import failed
from sweeps.store import result_store as store_module
from sweeps.store.compaction import compact
from sweeps.store.merging import merge
from sweeps.store.parts import encode
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.store.schema import SCHEMA_VERSION, TABLES
from sweeps.store.verification import verify
from tests.cells import PROVENANCE, cell, result


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    made = ResultStore(tmp_path / "results")
    made.create()
    return made


def test_what_is_written_is_read(store: ResultStore) -> None:
    provenance = replace(PROVENANCE, command="full_grid.py --preset laptop", run_id="run-1")
    store.write([result(seed=1), result(seed=2)], provenance)
    cells = store.read_cells().set_index("seed")
    assert list(cells.reset_index().columns.sort_values()) == sorted(TABLES["cells"].names)
    assert cells.loc[1, "aggregation_error"] == 0.25
    assert cells.loc[1, "cell_id"] == cell(seed=1).id
    assert list(cells.loc[1, ["git_commit", "data_fingerprint"]]) == ["abc", "f00d"]
    assert list(cells.loc[1, ["command", "run_id"]]) == ["full_grid.py --preset laptop", "run-1"]
    assert json.loads(str(cells.loc[1, "versions"])) == {"numpy": "2"}
    curves = store.read("curves")
    assert curves[curves.cell_id == cell(seed=2).id][["step", "value"]].to_numpy().tolist() == [[1, 0.5], [2, 0.75]]
    workers = store.read("workers")
    assert len(workers) == 4
    assert workers["estimated_quality"].isna().sum() == 2


def test_status_takes_ok_before_failed_and_then_the_newest(store: ResultStore) -> None:
    store.write([result()], PROVENANCE)
    store.write([failed(cell(), "Traceback: oh"), failed(cell(seed=9), "Traceback: first")], PROVENANCE)
    store.write([failed(cell(seed=9), "Traceback: second")], PROVENANCE)
    assert store.status() == {cell().id: "ok", cell(seed=9).id: "failed"}
    assert store.read_cells().set_index("seed").loc[9, "error"] == "Traceback: second"


def test_curves_of_two_attempts_are_never_mixed(store: ResultStore) -> None:
    store.write([result()], PROVENANCE)
    time.sleep(0.001)
    store.write([replace(result(), curves=((1, "test_accuracy", 0.9),))], PROVENANCE)
    assert store.read("curves")["value"].tolist() == [0.9]


def test_rows_of_several_data_sets_have_each_its_own_fingerprint(store: ResultStore) -> None:
    provenance = replace(PROVENANCE, fingerprints={"digits": "f00d", "cifar10_labels": "beef"})
    store.write([result(seed=1), result(seed=2, dataset="cifar10_labels"), result(seed=3, dataset="mnist")], provenance)
    fingerprints = store.read_cells().set_index("seed")["data_fingerprint"]
    assert list(fingerprints[[1, 2]]) == ["f00d", "beef"]
    assert pd.isna(fingerprints[3])


def test_a_traceback_is_written_without_secrets(store: ResultStore) -> None:
    store.write([failed(cell(), "OSError: s3://AKIAABCDEFGHIJKLMNOP:hush@bucket/x?secret_key=hush")], PROVENANCE)
    assert store.read_cells()["error"].tolist() == ["OSError: s3://***@bucket/x?***"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failed_write_leaves_nothing_and_says_why(
    store: ResultStore, call: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([result(seed=1)], PROVENANCE)
    before = sorted(Path(store.location).rglob("*"))

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os if call == "fsync" else Path, call, fail)
        with pytest.raises(
            ResultsError, match=f"cannot write results to .*{os.strerror(number)}; results written before are safe"
        ):
            store.write([result(seed=2)], PROVENANCE)
    assert sorted(Path(store.location).rglob("*")) == before
    assert store.read_cells()["seed"].tolist() == [1]


@pytest.mark.parametrize("act", ["write", "compact", "merge"])
def test_a_file_that_cannot_be_written_whole_is_not_there(store: ResultStore, act: str, tmp_path: Path) -> None:
    """The system itself refuses after so many bytes, as a full disk does."""
    for seed in range(3):
        store.write([result(seed=seed)], PROVENANCE)
    target = ResultStore(tmp_path / "target")
    target.create()
    acts = {
        "write": lambda: store.write([result(seed=9)], PROVENANCE),
        "compact": lambda: compact(store),
        "merge": lambda: merge([store], target),
    }
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(ResultsError, match="File too large"):
            acts[act]()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    acts[act]()
    assert len((target if act == "merge" else store).read_cells()) == (4 if act == "write" else 3)


def test_a_folder_that_may_not_be_written_is_an_error_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    store = ResultStore(tmp_path / "results")
    store.create()
    monkeypatch.setattr(Path, "open", read_only)
    with pytest.raises(ResultsError, match=r"cannot write results to .*Read-only file system"):
        store.create()
    assert store.read_cells().empty


def test_the_cells_file_is_written_last(store: ResultStore, monkeypatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(store, "write_rows", lambda table, rows, writer: written.append(table))
    store.write([result()], PROVENANCE)
    assert written == ["curves", "workers", "cells"]


def _write_many(location: str, start: int) -> None:
    store = ResultStore(location)
    for seed in range(start, start + 10):
        store.write([result(seed=seed)], PROVENANCE)


def test_writers_at_the_same_time_lose_nothing(store: ResultStore) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(store.location, 10 * n)) for n in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert (store.read_cells()["status"] == "ok").all()
    assert sorted(store.read_cells()["seed"]) == list(range(40))


def test_another_schema_version_is_refused(store: ResultStore) -> None:
    Path(store.location, "crowdml.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(
        ResultsError, match=f"has schema version {SCHEMA_VERSION + 1}, this crowdml writes {SCHEMA_VERSION}"
    ):
        ResultStore(store.location)


def test_an_axis_that_a_file_lacks_is_at_its_default(store: ResultStore) -> None:
    texts = ["worker_options", "assignment", "assignment_options"]
    store.write([result(seed=1)], PROVENANCE)
    drop_columns(store, texts)
    store.write([result(seed=2, worker_model="hammer_spammer", worker_options={"hammers": 0.3})], PROVENANCE)
    assert store.status() == {result(seed=seed).cell.id: "ok" for seed in (1,)} | {
        result(seed=2, worker_model="hammer_spammer", worker_options={"hammers": 0.3}).cell.id: "ok"
    }
    cells = store.read_cells().set_index("seed")
    assert list(cells.loc[1, texts]) == ["{}", "every_item", "{}"]
    assert list(cells.loc[2, texts]) == ['{"hammers": 0.3}', "every_item", "{}"]
    assert compact(store).after["cells"] == 1
    assert store.read_cells().set_index("seed")[texts].equals(cells[texts])


def test_a_file_that_lacks_another_column_is_damaged(store: ResultStore) -> None:
    store.write([result()], PROVENANCE)
    drop_columns(store, ["device"])
    with pytest.raises(ResultsError, match="it lacks the columns device"):
        store.read_cells()


def drop_columns(store: ResultStore, columns: list[str]) -> None:
    """Put a file without these columns in the place of the only file of cells."""
    (part,) = Path(store.location, "cells").iterdir()
    name, content = encode(pq.read_table(part).drop_columns(columns))
    part.unlink()
    part.with_name(name).write_bytes(content)


def test_folders_that_are_no_results_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultsError, match="is a file"):
        ResultStore(tmp_path / "file")
    with pytest.raises(ResultsError, match=r"holds other files and no crowdml\.json"):
        ResultStore(tmp_path)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "crowdml.json").write_text("[]")
    with pytest.raises(ResultsError, match="is not a marker"):
        ResultStore(tmp_path / "odd")
    with pytest.raises(ResultsError, match="cannot open results folder nosuch://bucket"):
        ResultStore("nosuch://bucket/x")


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultsError, match="cannot read results folder"):
        ResultStore(tmp_path / "file" / "below")


def test_an_empty_or_absent_folder_reads_as_no_cells(tmp_path: Path) -> None:
    assert ResultStore(tmp_path / "new").read_cells().empty
    assert ResultStore(tmp_path).status() == {}


def test_an_object_store_gets_whole_objects(tmp_path: Path, monkeypatch) -> None:
    # A filesystem that is not LocalFileSystem takes the object-store path: one stream a file, no rename.
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(store_module, "locate", lambda uri: (remote, uri.removeprefix("s3://")))
    for folder in ("cells", "curves", "workers"):
        (tmp_path / "bucket" / "run" / folder).mkdir(parents=True)
    (tmp_path / "bucket" / "run" / "crowdml.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION}))
    store = ResultStore("s3://bucket/run")
    assert not store.is_local
    store.create()
    store.write([result()], PROVENANCE)
    (part,) = (tmp_path / "bucket" / "run" / "cells").iterdir()
    assert pq.read_table(part).num_rows == 1
    assert store.status() == {cell().id: "ok"}
    store.write([result(seed=1)], PROVENANCE)
    assert compact(store).after == dict.fromkeys(TABLES, 1)
    assert verify(store).sound
    damaged = Path(tmp_path, store.parts("curves")[0].path)
    damaged.write_bytes(b"x")
    (found,) = verify(store).damaged
    assert store.set_aside(found.path) == f"bucket/run/damaged/curves-{damaged.name}"
    assert verify(store).sound
    assert store.unfinished() == []


def test_folders_within_are_named_for_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ResultStore("r").location_of(".train") == str(tmp_path / "r" / ".train")
    store = ResultStore((tmp_path / "r").as_uri())
    assert store.location_of("x") == str(tmp_path / "r" / "x")


def test_messages_name_a_uri_without_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(store_module, "locate", lambda uri: (remote, "bucket"))
    (tmp_path / "bucket").write_text("x")
    with pytest.raises(ResultsError, match="is a file") as error:
        ResultStore("s3://user:hush@bucket?secret_key=hush")
    assert "hush" not in str(error.value)
    monkeypatch.undo()
    with pytest.raises(ResultsError, match="cannot open results folder") as error:
        ResultStore("s3://user:hush@bucket/x?scheme=hush&nosuch=hush")
    assert "hush" not in str(error.value)
