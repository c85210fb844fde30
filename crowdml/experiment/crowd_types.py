"""The crowds that a cell can have: simulated workers, classifiers as annotators, or real workers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from crowdml.experiment.axes import MOST_ITEMS, CellError, Kind, Options, axis, check_axes, check_made, same_axis
from crowdml.noise import ASSIGNMENTS, MISSING_RULES, PATTERNS, WORKER_MODELS, make_assignment, make_worker_model
from crowdml.noise.machine_annotators import make_machine_annotators
from crowdml.noise.missing import MissingRule

REAL, MACHINES = "real", "machine_annotators"
"""Values of the column `pattern` for real workers, and for classifiers that learned from few images."""


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """Simulated workers whose errors follow a noise pattern.

    Do not change the order of the fields, because `crowd_seed` of a cell depends on it.

    Args:
        pattern: name of a noise pattern.
        noise_rate: probability in [0, 1) that the pattern draws the label of a worker; otherwise the label is right.
        pattern_options: options of the pattern; a mapping, or (name, value) pairs.
        worker_model: name of the worker model, which turns the pattern into one matrix per worker.
        worker_options: options of the worker model.
        assignment: name of the design that chooses the workers who label an item.
        assignment_options: options of the assignment.
        n_workers: number of workers.
        missing_rate: share of the labels of an item that is removed, in [0, 1).
        missing: rule that turns the missing rate into a number of labels: "floor", "round" or "bernoulli".

    Raises:
        CellError: an unknown name, or a value out of range.
    """

    has: ClassVar[str] = "simulated workers have"

    pattern: str = axis(
        Kind.TEXT, "how workers err", names=(*PATTERNS, MACHINES, REAL), panel=False, costs=False,
        plural="patterns",
    )  # fmt: skip
    noise_rate: float = axis(
        Kind.NUMBER, "share of labels drawn by the pattern", at_least=0, below=1, costs=False, plural="noise_rates",
        unit="noise",
    )  # fmt: skip
    pattern_options: Options = axis(
        Kind.OPTIONS, "options of the pattern", default=(), panel=False, costs=False, follows="pattern"
    )
    worker_model: str = axis(
        Kind.TEXT, "how workers differ", default="homogeneous", names=tuple(WORKER_MODELS), costs=False,
        plural="worker_models",
    )  # fmt: skip
    worker_options: Options = axis(
        Kind.OPTIONS, "options of the worker model", default=(), costs=False, follows="worker_model"
    )
    assignment: str = axis(
        Kind.TEXT, "which workers label an item", default="every_item", names=tuple(ASSIGNMENTS), plural="assignments"
    )
    assignment_options: Options = axis(Kind.OPTIONS, "options of the assignment", default=(), follows="assignment")
    n_workers: int = axis(
        Kind.WHOLE,
        "number of workers",
        at_least=1,
        most=MOST_ITEMS,
        panel=False,
        draws=False,
        plural="workers",
        unit="workers",
    )
    missing_rate: float = axis(
        Kind.NUMBER, "share of labels missing", default=0.0, at_least=0, below=1, panel=False, costs=False,
        draws=False, plural="missing_rates", unit="missing",
    )  # fmt: skip
    missing: MissingRule = axis(
        Kind.TEXT, "how a missing rate becomes a number of labels", default="floor", names=MISSING_RULES, costs=False,
        draws=False,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_axes(self)
        if crowd_type(self.pattern) is not Simulated:
            raise CellError("pattern", self.pattern, f"must be one of {', '.join(PATTERNS)}")
        check_made("worker_options", self.worker_options, partial(make_worker_model, self.worker_model))
        _check_assignment(self)


@dataclass(frozen=True, kw_only=True)
class MachineAnnotators:
    """Classifiers that learned from few images and label the others; fields as in Simulated.

    `pattern_options` are the fields of `crowdml.noise.machine_annotators.MachineAnnotatorOptions`.

    Raises:
        CellError: an unknown name, or a value out of range.
    """

    has: ClassVar[str] = "machine annotators have"
    pattern: ClassVar[str] = MACHINES

    pattern_options: Options = same_axis(Simulated, "pattern_options")
    assignment: str = same_axis(Simulated, "assignment")
    assignment_options: Options = same_axis(Simulated, "assignment_options")
    n_workers: int = same_axis(Simulated, "n_workers")
    missing_rate: float = same_axis(Simulated, "missing_rate")
    missing: MissingRule = same_axis(Simulated, "missing")

    def __post_init__(self) -> None:
        check_axes(self)
        check_made("pattern_options", self.pattern_options, make_machine_annotators)
        _check_assignment(self)


@dataclass(frozen=True, kw_only=True)
class Real:
    """Real workers; `dataset` of the cell names their crowd.

    Args:
        n_workers: number of workers, drawn at random; None uses all.
        missing_rate, missing: see Simulated.

    Raises:
        CellError: an unknown name, or a value out of range.
    """

    has: ClassVar[str] = "real workers have"
    pattern: ClassVar[str] = REAL

    n_workers: int | None = same_axis(Simulated, "n_workers", default=None)
    missing_rate: float = same_axis(Simulated, "missing_rate")
    missing: MissingRule = same_axis(Simulated, "missing")

    def __post_init__(self) -> None:
        check_axes(self)


Crowd = Simulated | MachineAnnotators | Real
CROWD_TYPES = (Simulated, MachineAnnotators, Real)


def crowd_type(pattern: object) -> type[Crowd]:
    """Return the type of crowd for a value of the column `pattern`; for a wrong value, the type that refuses it."""
    if not isinstance(pattern, str):
        return Simulated
    return {MACHINES: MachineAnnotators, REAL: Real}.get(pattern, Simulated)


def _check_assignment(crowd: Simulated | MachineAnnotators) -> None:
    check_made(
        "assignment_options",
        crowd.assignment_options,
        lambda options: make_assignment(crowd.assignment, options).n_labels(crowd.n_workers),
    )
