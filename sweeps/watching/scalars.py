"""Write the numbers of a run as TensorBoard scalars over the seconds since its start."""

from __future__ import annotations

import sys
from pathlib import Path

from sweeps.watching.snapshot import Snapshot


class TensorBoardScalars:
    """A sink of Progress that writes to a local folder of the run, such as RESULTS/tensorboard/RUN_ID."""

    def __init__(self, folder: str | Path) -> None:
        self._writer = _summary_writer()(str(folder), flush_secs=5)

    def __call__(self, snapshot: Snapshot) -> None:
        """Write one point of each curve."""
        step = round(snapshot.elapsed)
        for name, value in _scalars(snapshot).items():
            if value is not None:
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def _summary_writer() -> type:
    """Import tensorboardX without torch, because importing torch takes seconds and scalars do not need it."""
    absent = "torch" not in sys.modules
    if absent:
        sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]
    try:
        from tensorboardX import SummaryWriter
    finally:
        if absent:
            del sys.modules["torch"]
    return SummaryWriter


def _scalars(snapshot: Snapshot) -> dict[str, float | None]:
    by_axis = {
        f"{axis}/{value}": count.done / count.total
        for axis, values in snapshot.by_axis.items()
        for value, count in values.items()
    }
    best = {f"best_{entry.measure}/{entry.panel.replace(' ', '_')}": entry.value for entry in snapshot.best}
    return {
        "cells/done": snapshot.n_done,
        "cells/failed": snapshot.n_failed,
        "cells/left": snapshot.n_left,
        "cells/per_minute": snapshot.cells_per_minute,
        "time/eta_seconds": snapshot.eta_seconds or 0.0,
        "time/share_in_cells": snapshot.share_in_cells,
        "time/overhead_seconds_a_cell": snapshot.overhead_seconds_a_cell,
        "trials/running": snapshot.running,
        "trials/pending": snapshot.pending,
        "machines/cpus_used": snapshot.cpus_used,
        "machines/gpus_used": snapshot.gpus_used,
        **by_axis,
        **best,
    }
