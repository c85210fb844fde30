"""Snapshot: the state of a run at one moment, everything that the views of it show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Count:
    """The cells of one value of an axis.

    Args:
        done: those with a result, of this run or an earlier one.
        failed: those that failed and are not tried again.
        total: all of the grid.
    """

    done: int
    failed: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best method so far of a panel: of cells that differ in nothing but method and seed.

    Args:
        panel: what its cells have in common and those of other panels do not.
        method: its name, with its options where it has any.
        measure: "test_accuracy" where networks are trained, else "aggregation_error".
        value: mean of the measure over the seeds so far.
        n: seeds it is the mean of.
        n_methods: methods that have a result in the panel, two or more.
    """

    panel: str
    method: str
    measure: str
    value: float
    n: int
    n_methods: int


@dataclass(frozen=True, kw_only=True)
class LastError:
    """A cell that failed, and the last line of its traceback."""

    cell_id: str
    method: str
    line: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a run at one moment.

    Args:
        n_cells: of the whole grid.
        n_done_before, n_failed_before: cells with a result, and failed ones, that this run does not compute.
        n_ok, n_failed: cells that ended since this run began.
        n_left: cells that this run has to compute still.
        elapsed: seconds since the run began.
        eta_seconds: estimated seconds to its end; None where nothing is left.
        cells_per_minute: over the last minute.
        seconds_in_cells: summed over the cells that ended in this run.
        slots: trials at a time, the most seen.
        share_in_cells: seconds in cells over slots times seconds since the first trial began; None before one ended.
        overhead_seconds_a_cell: what is left of slots times seconds, a cell; None likewise.
        running, pending: trials.
        cpus_used, cpus, gpus_used, gpus: of the machines there are.
        by_axis: axis -> value -> its cells, for the axes that vary.
        best: the best method of the panels that changed last, the newest first.
        n_panels: panels in which at least two methods have results.
        last_errors: the last failures, the newest first.
    """

    n_cells: int
    n_done_before: int = 0
    n_failed_before: int = 0
    n_ok: int = 0
    n_failed: int = 0
    n_left: int = 0
    elapsed: float = 0.0
    eta_seconds: float | None = None
    cells_per_minute: float = 0.0
    seconds_in_cells: float = 0.0
    slots: int = 0
    share_in_cells: float | None = None
    overhead_seconds_a_cell: float | None = None
    running: int = 0
    pending: int = 0
    cpus_used: float = 0.0
    cpus: float = 0.0
    gpus_used: float = 0.0
    gpus: float = 0.0
    by_axis: Mapping[str, Mapping[str, Count]] = field(default_factory=dict)
    best: tuple[Best, ...] = ()
    n_panels: int = 0
    last_errors: tuple[LastError, ...] = ()

    @property
    def n_done(self) -> int:
        """Cells of the grid that have a result."""
        return self.n_done_before + self.n_ok

    def to_dict(self) -> dict[str, Any]:
        """The snapshot as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Snapshot:
        """The inverse of `to_dict`.

        Raises:
            ValueError: the content is no snapshot of this version.
        """
        names = {item.name for item in fields(cls)}
        if set(content) != names:
            raise ValueError(f"no snapshot of this version: it differs in {', '.join(sorted(names ^ set(content)))}")
        try:
            by_axis = {
                axis: {value: Count(**count) for value, count in values.items()}
                for axis, values in content["by_axis"].items()
            }
            best = tuple(Best(**entry) for entry in content["best"])
            last_errors = tuple(LastError(**entry) for entry in content["last_errors"])
        except (TypeError, AttributeError) as error:
            raise ValueError(f"no snapshot of this version: {error}") from error
        return cls(**{**content, "by_axis": by_axis, "best": best, "last_errors": last_errors})
