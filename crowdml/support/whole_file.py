"""Write a file atomically: a reader never sees a part of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and move it to `path` when the block ends without an error.

    A reader of `path` sees the old file or the new file, never a part.  After an error or an interruption the old file
    is still there, and the temporary file is gone.  To write several files together, enter one block per file through
    an `ExitStack`.

    Args:
        path: the file to write; its folder must exist.
        durable: wait until the disk holds the file and its name, so that a power failure cannot lose the file.

    Raises:
        OSError: the file cannot be moved into place.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        if durable:
            _flush(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _flush(target.parent)


def _flush(path: Path) -> None:
    """Wait until the disk holds a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
