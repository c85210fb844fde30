"""Publish the numbers of a run as Ray metrics, for the Prometheus endpoint of each node and for the dashboard."""

from __future__ import annotations

from collections.abc import Callable

from ray.util.metrics import Gauge

from sweeps.watching.snapshot import Snapshot

_NUMBERS: dict[str, tuple[str, Callable[[Snapshot], float | None]]] = {
    "cells": ("Cells of the grid.", lambda now: now.n_cells),
    "cells_done": ("Cells that have a result.", lambda now: now.n_done),
    "cells_failed": ("Cells that failed in this run.", lambda now: now.n_failed),
    "cells_left": ("Cells that this run has yet to compute.", lambda now: now.n_left),
    "cells_per_minute": ("Cells that ended in the last minute.", lambda now: now.cells_per_minute),
    "eta_seconds": ("Estimated seconds to the end.", lambda now: now.eta_seconds or 0.0),
    "seconds_in_cells": ("Seconds spent in cells that ended.", lambda now: now.seconds_in_cells),
    "share_in_cells": ("Share of the time of the trials that is spent in cells.", lambda now: now.share_in_cells),
    "trials_running": ("Trials that run.", lambda now: now.running),
    "trials_pending": ("Trials that wait.", lambda now: now.pending),
}


class RayMetrics:
    """A sink of Progress that sets the metrics of a connected Ray.  Prometheus adds `ray_` to their names.

    All metrics have the tag run_id.  `crowdml_axis_cells_done` and `crowdml_axis_cells` also have the tags axis and
    value, and `crowdml_best` also has the tags panel and measure.
    """

    def __init__(self, run_id: str) -> None:
        def gauge(name: str, description: str, *tags: str) -> Gauge:
            made = Gauge(f"crowdml_{name}", description, tag_keys=("run_id", *tags))
            return made.set_default_tags({"run_id": run_id})

        self._numbers = {name: gauge(name, description) for name, (description, _) in _NUMBERS.items()}
        self._axis_done = gauge("axis_cells_done", "Cells with a value of an axis that have a result.", "axis", "value")
        self._axis_total = gauge("axis_cells", "Cells with a value of an axis.", "axis", "value")
        self._best = gauge("best", "Mean of the best method of a panel so far.", "panel", "measure")

    def __call__(self, snapshot: Snapshot) -> None:
        """Set the metrics."""
        for name, (_, number) in _NUMBERS.items():
            if (value := number(snapshot)) is not None:
                self._numbers[name].set(value)
        for axis, values in snapshot.by_axis.items():
            for value, count in values.items():
                tags = {"axis": axis, "value": value}
                self._axis_done.set(count.done, tags=tags)
                self._axis_total.set(count.total, tags=tags)
        for best in snapshot.best:
            self._best.set(best.value, tags={"panel": best.panel, "measure": best.measure})
