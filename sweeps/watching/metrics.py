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
    """A sink of Progress.  It needs a connected Ray.  Prometheus adds `ray_` to the names.

    `crowdml_axis_cells_done` and `crowdml_axis_cells` have the tags axis and value.  `crowdml_best` has the tags panel
    and measure.

    Args:
        run_id: a tag of all metrics.
    """

    def __init__(self, run_id: str) -> None:
        tags = {"run_id": run_id}
        self._numbers = {
            name: Gauge(f"crowdml_{name}", description, tag_keys=("run_id",)).set_default_tags(tags)
            for name, (description, _) in _NUMBERS.items()
        }
        self._axis_done, self._axis_total = (
            Gauge(f"crowdml_axis_{name}", description, tag_keys=("run_id", "axis", "value")).set_default_tags(tags)
            for name, description in (
                ("cells_done", "Cells with a value of an axis that have a result."),
                ("cells", "Cells with a value of an axis."),
            )
        )
        self._best = Gauge(
            "crowdml_best", "Mean of the best method of a panel so far.", tag_keys=("run_id", "panel", "measure")
        ).set_default_tags(tags)

    def __call__(self, snapshot: Snapshot) -> None:
        """Set the metrics."""
        for name, (_, number) in _NUMBERS.items():
            value = number(snapshot)
            if value is not None:
                self._numbers[name].set(value)
        for axis, values in snapshot.by_axis.items():
            for value, count in values.items():
                tags = {"axis": axis, "value": value}
                self._axis_done.set(count.done, tags=tags)
                self._axis_total.set(count.total, tags=tags)
        for best in snapshot.best:
            self._best.set(best.value, tags={"panel": best.panel, "measure": best.measure})
