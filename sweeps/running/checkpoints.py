"""Keep the state of a cell's trainings, so that an interrupted cell continues instead of starting again.

    RESULTS/checkpoints/CELL_ID/    exists while the cell is computed, and after an interruption

If results are on a file system, all machines use this folder.  If results are in an object store, each machine works
on a copy in a temporary folder and sends changes to the store every SEND_SECONDS.

Two runs that compute one cell at the same time share the folder.  They do no harm to each other, because files are
replaced whole, and because both runs write states of the same training.
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
    """Yield a folder on this machine with the checkpoints of a cell.  Files in the folder outlive the process."""
    location = store.location_of(f"{FOLDER}/{cell_id}")
    if is_local(location):
        yield Path(locate(location)[1])
        return
    with tempfile.TemporaryDirectory(prefix="crowdml-checkpoints-") as folder, _mirrored(Path(folder), location):
        yield Path(folder)


def discard_checkpoints(store: ResultStore, cell_id: str) -> None:
    """Delete the checkpoints of a cell that has a row or cannot continue from them."""
    # A network file system may refuse to delete a file that a process still reads.  Remaining files do no harm.
    with suppress(OSError):
        store.discard(f"{FOLDER}/{cell_id}")


@contextmanager
def _mirrored(folder: Path, location: str) -> Iterator[None]:
    """Fill a folder from the object store, and send its changes to the store while the block runs."""
    filesystem, path = locate(location)
    for info in filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)):
        if info.type == fs.FileType.File:
            with filesystem.open_input_stream(info.path) as stream:
                (folder / info.base_name).write_bytes(stream.read())
    sent = _stamps(folder)

    def send() -> None:
        nonlocal sent
        # A failure of the storage must not end the training; the next beat tries again.
        with suppress(OSError):
            stamps = _stamps(folder)
            changed = [name for name in stamps if sent.get(name) != stamps[name]]
            # Read the curves after the state, and send the curves before the state.  Then the curves in the store have
            # all epochs of the state in the store, even if the process dies in between.
            read = [(name, (folder / name).read_bytes()) for name in sorted(changed, key=lambda name: name == CURVES)]
            for name, content in sorted(read, key=lambda file: file[0] != CURVES):
                put(filesystem, f"{path}/{name}", content)
            sent = stamps

    with heartbeat(send, seconds=SEND_SECONDS, name="checkpoints"):
        yield


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return file name -> (time of change, size), sorted by name in the order of the trainings; no temporary files."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.endswith(".part")]
    return {file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in files}
