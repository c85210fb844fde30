from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from crowdml import datasets
from crowdml.experiment.run_cell import CURVES, attempt_cell, run_cell
from crowdml.learning import loop, trainer
from crowdml.learning.recipe import Recipe
from sweeps.running import checkpoints
from sweeps.running.checkpoints import FOLDER, checkpoints_of, discard_checkpoints
from sweeps.store.result_store import ResultStore
from tests.cells import cell

CELL = "0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    made = ResultStore(tmp_path / "results")
    made.create()
    return made


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an object store holds of the cell; checkpoints are sent to it at once."""
    folder = tmp_path / "bucket" / CELL
    folder.mkdir(parents=True)
    remote = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    monkeypatch.setattr(checkpoints, "is_local", lambda location: False)
    monkeypatch.setattr(checkpoints, "locate", lambda location: (remote, location.rpartition("/")[2]))
    monkeypatch.setattr(checkpoints, "SEND_SECONDS", 0.02)
    return folder


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def holds(file: Path, content: bytes) -> bool:
    return file.exists() and file.read_bytes() == content


def test_a_folder_is_written_in_place_until_the_cell_has_a_row(store: ResultStore) -> None:
    with checkpoints_of(store, CELL) as folder:
        assert folder == Path(store.location, FOLDER, CELL)
        folder.mkdir(parents=True)
        (folder / "training-000.pt").write_bytes(b"state")
    with checkpoints_of(store, CELL) as again:
        assert (again / "training-000.pt").read_bytes() == b"state"
    discard_checkpoints(store, CELL)
    assert not folder.exists()
    discard_checkpoints(store, CELL)


def test_another_process_finds_what_was_sent_to_an_object_store(store: ResultStore, bucket: Path) -> None:
    with checkpoints_of(store, CELL) as folder:
        assert list(folder.iterdir()) == []
        (folder / "training-000.pt").write_bytes(b"first")
        wait_until(lambda: holds(bucket / "training-000.pt", b"first"))
        (folder / "training-000.pt").write_bytes(b"second state")
        (folder / "training-001.pt.77.part").write_bytes(b"half a sta")
        wait_until(lambda: holds(bucket / "training-000.pt", b"second state"))
    assert not folder.exists()
    assert [file.name for file in bucket.iterdir()] == ["training-000.pt"]
    with checkpoints_of(store, CELL) as again:
        assert again != folder
        assert (again / "training-000.pt").read_bytes() == b"second state"


def test_what_arrives_holds_the_curves_of_all_epochs_of_its_state(
    store: ResultStore, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, bytes]] = []

    def send(filesystem: fs.FileSystem, path: str, content: bytes) -> None:
        sent.append((path.rpartition("/")[2], content))
        # The training goes on meanwhile.
        (folder / CURVES).write_bytes(b"epochs 1 and 2")
        (folder / "training-001.pt").write_bytes(b"epoch 2")

    with checkpoints_of(store, CELL) as folder:
        (folder / CURVES).write_bytes(b"epoch 1")
        (folder / "training-001.pt").write_bytes(b"epoch 1")
        (folder / "training-000.pt").write_bytes(b"done")
        monkeypatch.setattr(checkpoints, "put", send)
        wait_until(lambda: len(sent) >= 3)
    assert sent[:3] == [(CURVES, b"epoch 1"), ("training-000.pt", b"done"), ("training-001.pt", b"epoch 1")]


def test_storage_that_does_not_answer_is_tried_again(
    store: ResultStore, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, n_tries = checkpoints.put, 0

    def fails_twice(*arguments: Any) -> None:
        nonlocal n_tries
        n_tries += 1
        if n_tries <= 2:
            raise OSError("no answer")
        put(*arguments)

    monkeypatch.setattr(checkpoints, "put", fails_twice)
    with checkpoints_of(store, CELL) as folder:
        (folder / "training-000.pt").write_bytes(b"state")
        wait_until(lambda: holds(bucket / "training-000.pt", b"state"))


@pytest.mark.parametrize("remote", [False, True])
def test_a_cell_goes_on_on_another_machine(
    remote: bool, store: ResultStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request.getfixturevalue("bucket") if remote else Path(store.location, FOLDER, CELL)
    digits = datasets.load("digits")
    trains = cell(network="cnn_digits", recipe=Recipe(epochs=4, batch_size=64, lr=0.05), n_train=200)
    undisturbed = run_cell(trains, digits)
    n_epochs, train_epoch = 0, loop._Training._train_epoch

    def killed_in_the_third(training: Any) -> Any:
        nonlocal n_epochs
        if n_epochs == 2:
            # What was written is sent before the process dies.
            wait_until(lambda: (folder / "training-000.pt").exists() and (folder / CURVES).exists())
            time.sleep(0.2)
            n_epochs += 1
            raise KeyboardInterrupt
        n_epochs += 1
        return train_epoch(training)

    monkeypatch.setattr(trainer, "Checkpoint", partial(trainer.Checkpoint, every=0.0))
    monkeypatch.setattr(loop._Training, "_train_epoch", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt), checkpoints_of(store, CELL) as first:
        attempt_cell(trains, digits, checkpoints=first)
    with checkpoints_of(store, CELL) as second:
        result = attempt_cell(trains, digits, checkpoints=second)
    assert n_epochs == 3 + 2
    assert result.error is None
    assert result.test_accuracy == undisturbed.test_accuracy
    assert result.curves == undisturbed.curves
