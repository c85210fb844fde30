"""Where a cell's trainings keep their state, so that an interrupted cell goes on instead of starting again.

    RESULTS/checkpoints/CELL_ID/    exists while the cell is computed, or after an interruption

Machines share the folder where results lie on a file system.  Where results lie in an object store, each machine works
on a copy in a temporary folder, and sends changes to the store now and then.

Two runs may compute one cell at the same time.  They share the folder: files are replaced whole, and both runs write
states of the same training.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyarrow import fs

from crowdml.experiment.run_cell import CURVES
from crowdml.support.heartbeat import heartbeat
from sweeps.store.locations import is_local, locate, put
from sweeps.store.result_store import ResultStore

FOLDER = "checkpoints"
SEND_SECONDS = 30.0
WORTHWHILE_SECONDS = 20.0
"""Cells with a shorter estimate keep no checkpoints."""


@contextmanager
def checkpoints_of(store: ResultStore, cell_id: str) -> Iterator[Path]:
    """Yield a folder on this machine with the checkpoints that an earlier computation of a cell left.

    What is written to the folder outlives the process.

    Args:
        store: the results folder.
        cell_id: of the cell.
    """
    location = store.location_of(f"{FOLDER}/{cell_id}")
    if is_local(location):
        yield Path(locate(location)[1])
        return
    with tempfile.TemporaryDirectory(prefix="crowdml-checkpoints-") as folder, _mirrored(Path(folder), location):
        yield Path(folder)


def discard_checkpoints(store: ResultStore, cell_id: str) -> None:
    """Delete the checkpoints of a cell that has a row, or that cannot go on from them."""
    # A network file system may refuse while a process still reads a file.  Remaining files do no harm.
    with suppress(OSError):
        store.discard(f"{FOLDER}/{cell_id}")


@contextmanager
def _mirrored(folder: Path, location: str) -> Iterator[None]:
    """Fill a folder from the object store, and send its changes to the store while the block runs."""
    filesystem, path = locate(location)
    _fetch(filesystem, path, folder)
    sent = _stamps(folder)

    def send() -> None:
        nonlocal sent
        stamps = _stamps(folder)
        changed = [name for name in stamps if sent.get(name) != stamps[name]]
        # Read the curves after the state, and send them before it: then the curves in the store hold all epochs of the
        # state in the store, wherever this is interrupted.
        read = [(name, (folder / name).read_bytes()) for name in sorted(changed, key=_is_curves)]
        for name, content in sorted(read, key=lambda file: not _is_curves(file[0])):
            put(filesystem, f"{path}/{name}", content)
        sent = stamps

    def try_to_send() -> None:
        # A failure of the storage must not end the training; the next beat tries again.
        with suppress(OSError):
            send()

    with heartbeat(try_to_send, seconds=SEND_SECONDS, name="checkpoints"):
        yield


def _fetch(filesystem: fs.FileSystem, path: str, folder: Path) -> None:
    found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    for info in found:
        if info.type == fs.FileType.File:
            with filesystem.open_input_stream(info.path) as stream:
                (folder / info.base_name).write_bytes(stream.read())


def _is_curves(name: str) -> bool:
    return name == CURVES


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return file name -> (time of change, size), without temporary files.

    The files are sorted by name, which is the order of the trainings.
    """
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.endswith(".part")]
    return {file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in files}
