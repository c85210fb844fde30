"""WorkerModel, the interface of worker models, and Workers, which it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from crowdml.noise.patterns import NoisePattern

Matrices = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Workers:
    """The workers of a simulated crowd.

    Args:
        transitions: (n_workers, n_classes, n_classes); [w, t] is the label distribution of worker w for true class t.
        source: (n_workers,) the index of the worker whose answer each worker gives.  A worker who copies nobody has his
            own index.  A copied worker must copy nobody.  None means that nobody copies.

    Raises:
        ValueError: rows do not sum to one, or `source` names no worker or a worker who copies another.
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
    """A worker model, as a dataclass of its options."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """Return n_workers workers, drawn one by one, so that a small crowd is the start of a larger crowd."""
        ...
