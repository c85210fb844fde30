"""What a worker model is, and what it makes: Workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from crowdml.noise.patterns import NoisePattern

Matrices = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Workers:
    """A simulated crowd before it has labelled anything.

    Args:
        transitions: (n_workers, n_classes, n_classes); [w, t] is worker w's label distribution for true class t.
        source: (n_workers,) whose answer each worker gives: his own index, or that of the worker whom he copies, who
            copies nobody; None where nobody copies.

    Raises:
        ValueError: rows that do not sum to one, or a source that is nobody's or copies another.
    """

    transitions: Matrices
    source: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not np.allclose(self.transitions.sum(axis=2), 1):
            raise ValueError("the rows of a transition matrix must sum to one")
        if self.source is not None:
            known = self.source.shape == (len(self),) and ((self.source >= 0) & (self.source < len(self))).all()
            if not known or (self.source[self.source] != self.source).any():
                raise ValueError(f"source must name a worker who copies nobody for each of {len(self)} workers")

    def __len__(self) -> int:
        return len(self.transitions)


class WorkerModel(Protocol):
    """Who the workers are; a dataclass of its options."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """Must draw worker by worker, so that fewer workers are the first of more workers."""
        ...
