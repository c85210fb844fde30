"""Snapshot: the state of a run at one moment, with everything that its views show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from crowdml.support.printable import printable

RECORD_CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""How pydantic reads the dataclasses of a run record from JSON: without unknown fields and without conversion."""
_MOST = 1e12  # more seconds do not fit into a duration of Python
Text = Annotated[str, AfterValidator(printable)]
Number = Annotated[float, Field(ge=-_MOST, le=_MOST)]
Whole = Annotated[int, Field(ge=0, le=int(_MOST))]


@dataclass(frozen=True, kw_only=True)
class Count:
    """The numbers of cells with one value of an axis: with a result, failed and not tried again, and in the grid."""

    __pydantic_config__: ClassVar[ConfigDict] = RECORD_CONFIG

    done: Whole
    failed: Whole
    total: Whole


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

    __pydantic_config__: ClassVar[ConfigDict] = RECORD_CONFIG

    panel: Text
    method: Text
    measure: Text
    value: Number
    n: Whole
    n_methods: Whole


@dataclass(frozen=True, kw_only=True)
class LastError:
    """A failed cell, and the last line of its traceback."""

    __pydantic_config__: ClassVar[ConfigDict] = RECORD_CONFIG

    cell_id: Text
    method: Text
    line: Text


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

    __pydantic_config__: ClassVar[ConfigDict] = RECORD_CONFIG

    n_cells: Whole
    n_done_before: Whole = 0
    n_failed_before: Whole = 0
    n_ok: Whole = 0
    n_failed: Whole = 0
    n_left: Whole = 0
    elapsed: Number = 0.0
    eta_seconds: Number | None = None
    cells_per_minute: Number = 0.0
    seconds_in_cells: Number = 0.0
    slots: Whole = 0
    share_in_cells: Number | None = None
    overhead_seconds_a_cell: Number | None = None
    running: Whole = 0
    pending: Whole = 0
    cpus_used: Number = 0.0
    cpus: Number = 0.0
    gpus_used: Number = 0.0
    gpus: Number = 0.0
    by_axis: Mapping[Text, Mapping[Text, Count]] = field(default_factory=dict)
    best: tuple[Best, ...] = ()
    n_panels: Whole = 0
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
        """Return the snapshot that `to_dict` turned into `content`, with control characters escaped in its texts.

        Raises:
            ValueError: another version of crowdml wrote the content, or a value has another type or is out of range.
        """
        if missing := {item.name for item in fields(cls)} - set(content):
            raise ValueError(f"not a snapshot of this version of crowdml: it lacks {', '.join(sorted(missing))}")
        try:
            return _reader().validate_json(json.dumps(content))
        except ValidationError as error:
            raise ValueError(f"not a snapshot of this version of crowdml: {first_error(error)}") from error


@cache
def _reader() -> TypeAdapter[Snapshot]:
    return TypeAdapter(Snapshot)


def first_error(error: ValidationError) -> str:
    """Return the first error of pydantic on one line, with its place."""
    found = error.errors(include_url=False)[0]
    place = ".".join(map(str, found["loc"]))
    return printable(f"{place}: {found['msg']}" if place else found["msg"])
