"""Where a cell's trainings keep their state, so that a cell that is interrupted goes on and does not start again.

    RESULTS/checkpoints/CELL_ID/    there while the cell is being computed, or was interrupted

A results folder on a file system is written in place, so every machine that sees it can go on.  Of one in an object
store each machine has a copy in a temporary folder, which is sent there now and then.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyarrow import fs

from crowdml.experiment.run_cell import CURVES
from sweeps.store.locations import is_local, locate, put
from sweeps.store.result_store import ResultStore

FOLDER = "checkpoints"
SEND_SECONDS = 30.0
WORTHWHILE_SECONDS = 20.0
"""Cells that are thought to be shorter keep no checkpoints."""


@contextmanager
def checkpoints_of(store: ResultStore, cell_id: str) -> Iterator[Path]:
    """A folder on this machine with what an interrupted computation of the cell left; it outlives the process.

    Args:
        store: the results folder.
        cell_id: of the cell; nobody else computes it now.
    """
    location = store.location_of(f"{FOLDER}/{cell_id}")
    if is_local(location):
        yield Path(locate(location)[1])
        return
    with tempfile.TemporaryDirectory(prefix="crowdml-checkpoints-") as folder, _mirrored(Path(folder), location):
        yield Path(folder)


def discard_checkpoints(store: ResultStore, cell_id: str) -> None:
    """Forget them: the cell has a row, or cannot go on from them."""
    # What cannot be deleted, as on a network file system where a process still reads it, harms nobody.
    with suppress(OSError):
        store.discard(f"{FOLDER}/{cell_id}")


@contextmanager
def _mirrored(folder: Path, location: str) -> Iterator[None]:
    """Fill the folder from the object store, and send there what changes in it."""
    filesystem, path = locate(location)
    _fetch(filesystem, path, folder)
    sent = _stamps(folder)
    stop = threading.Event()

    def send() -> None:
        nonlocal sent
        stamps = _stamps(folder)
        changed = [name for name in stamps if sent.get(name) != stamps[name]]
        # The curves are read after the state, and sent before it: wherever this ends, what arrived holds the curves of
        # all epochs that its state has behind it.
        read = [(name, (folder / name).read_bytes()) for name in sorted(changed, key=_is_curves)]
        for name, content in sorted(read, key=lambda file: not _is_curves(file[0])):
            put(filesystem, f"{path}/{name}", content)
        sent = stamps

    def keep_sending() -> None:
        while not stop.wait(SEND_SECONDS):
            # Storage that does not answer now costs no training; it is tried again.
            with suppress(OSError):
                send()

    sender = threading.Thread(target=keep_sending, name="checkpoints", daemon=True)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()


def _fetch(filesystem: fs.FileSystem, path: str, folder: Path) -> None:
    found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    for info in found:
        if info.type == fs.FileType.File:
            with filesystem.open_input_stream(info.path) as stream:
                (folder / info.base_name).write_bytes(stream.read())


def _is_curves(name: str) -> bool:
    return name == CURVES


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """File -> when it was changed, and its size; parts that are being written left out.

    In the order of their names, which is that of the trainings.
    """
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.endswith(".part")]
    return {file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in files}
