"""Snapshot: the state of a run at one moment, with everything that its views show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Count:
    """The numbers of cells with one value of an axis: with a result, failed and not tried again, and in the grid."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best method so far of a panel: a set of cells that differ only in method and seed.

    Args:
        panel: what distinguishes its cells from the cells of other panels.
        method: name of the method, with its options if it has any.
        measure: "test_accuracy" if the cells train networks, else "aggregation_error".
        value: mean of the measure over the seeds so far.
        n: number of seeds in the mean.
        n_methods: number of methods with a result in the panel, at least two.
    """

    panel: str
    method: str
    measure: str
    value: float
    n: int
    n_methods: int


@dataclass(frozen=True, kw_only=True)
class LastError:
    """A failed cell, and the last line of its traceback."""

    cell_id: str
    method: str
    line: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a run at one moment.

    Args:
        n_cells: cells of the whole grid.
        n_done_before, n_failed_before: cells with a result, and failed cells, that this run does not compute.
        n_ok, n_failed: cells that ended since this run began.
        n_left: cells that this run has yet to compute.
        elapsed: seconds since the run began.
        eta_seconds: estimated seconds until the run ends; None if no cell is left.
        cells_per_minute: over the last minute.
        seconds_in_cells: sum over the cells that this run computed.
        slots: the largest number of trials at a time so far.
        share_in_cells: seconds_in_cells divided by (slots times seconds since the first trial).
        overhead_seconds_a_cell: the other seconds of the slots, per cell.  Both are None before a cell has ended.
        running, pending: numbers of trials.
        cpus_used, cpus, gpus_used, gpus: of all machines.
        by_axis: axis -> value -> numbers of its cells, for the axes that vary.
        best: the best methods, the panel that changed last first.
        n_panels: number of panels in which at least two methods have results.
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
        """The number of cells of the grid that have a result."""
        return self.n_done_before + self.n_ok

    def to_dict(self) -> dict[str, Any]:
        """Return the snapshot as values that JSON can store."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot that `to_dict` turned into `content`.

        Raises:
            ValueError: another version of crowdml wrote the content.
        """
        changed = {item.name for item in fields(cls)} ^ set(content)
        if changed:
            raise ValueError(f"not a snapshot of this version of crowdml: it differs in {', '.join(sorted(changed))}")
        try:
            by_axis = {
                axis: {value: Count(**count) for value, count in values.items()}
                for axis, values in content["by_axis"].items()
            }
            best = tuple(Best(**entry) for entry in content["best"])
            last_errors = tuple(LastError(**entry) for entry in content["last_errors"])
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a snapshot of this version of crowdml: {error}") from error
        return cls(**{**content, "by_axis": by_axis, "best": best, "last_errors": last_errors})
