"""EM that exchanges nothing but sums over items: the loop, and what a method brings to it.

Whoever adds up the sums, one process or a thousand, runs the same method: the E-step needs an item's annotations and
the tables, the M-step needs the expected counts of all items and no item.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.aggregator import check_prior
from crowdml.aggregation.inference.confusion import given_counts
from crowdml.aggregation.inference.em_tables import Tables
from crowdml.aggregation.inference.kernels import Expectation, expectation
from crowdml.labels import CrowdLabels

Array = NDArray[np.float64]


class PriorKnowledge(NamedTuple):
    """What is known besides the annotations.

    Attributes:
        history: (n_workers, n_classes, n_classes) earlier answers of the workers, see CrowdLabels; or None.
        prior: (n_classes,) or (n_items, n_classes) class probabilities that stay fixed; or None.
    """

    history: Array | None = None
    prior: Array | None = None


NO_KNOWLEDGE = PriorKnowledge()


class WorkerEstimates(NamedTuple):
    """What is known of the workers in the end; the fields are those of Aggregation."""

    confusion: Array
    class_prior: Array
    quality: Array
    quality_se: Array
    quality_interval: Array | None


@runtime_checkable
class EmMethod(Protocol):
    """A method whose E-step is `kernels.expectation` and whose M-step takes sums."""

    @property
    def hard(self) -> bool:
        """Whether the E-step puts an item's whole weight on its most probable class."""
        ...

    @property
    def max_iter(self) -> int:
        """Iterations at most."""
        ...

    @property
    def tol(self) -> float:
        """Stop when no posterior probability moves by more than this."""
        ...

    def start(self, crowd: CrowdLabels, prior: Array | None = None) -> Array:
        """(n_items, n_classes) the first posterior.

        Where nothing is known of the workers, each item's row depends on its own annotations alone.
        """
        ...

    def m_step(self, counts: Array, class_counts: Array, known: PriorKnowledge = NO_KNOWLEDGE) -> Tables:
        """Tables from expected counts: (n_workers, n_classes, n_classes) at [w, true, given], and (n_classes,)."""
        ...

    def workers(
        self, tables: Tables, counts: Array, class_counts: Array, known: PriorKnowledge = NO_KNOWLEDGE
    ) -> WorkerEstimates:
        """The conclusion from the last tables, and the counts of the E-step that followed them."""
        ...


class EmResult(NamedTuple):
    """Where EM ended: the last tables, the sums of the E-step that followed, and how it went."""

    tables: Tables
    sums: Expectation
    converged: bool
    objective: tuple[float, ...]


def fit_em(
    method: EmMethod, crowd: CrowdLabels, prior: ArrayLike | None, device: str = "cpu"
) -> tuple[Array, EmResult, WorkerEstimates]:
    """Run EM on one machine.

    Args:
        method: its steps.
        crowd: the annotations, gold labels and histories.
        prior: (n_classes,) or (n_items, n_classes), kept fixed; or None.
        device: "cpu", or a torch device that holds crowd and posterior.

    Returns:
        The posterior (n_items, n_classes), how EM ended, and what it says of the workers.
    """
    known = PriorKnowledge(crowd.history, check_prior(prior, crowd))
    posterior = method.start(crowd, known.prior)
    counts = given_counts(crowd, posterior, history=False)
    if device == "cpu":
        fit = iterate(method, counts, posterior.sum(axis=0), e_step_of(method, crowd, posterior), known)
    else:
        from crowdml.aggregation.inference.on_device import OnDevice

        held = OnDevice(crowd, posterior, device, hard=method.hard)
        fit = iterate(method, counts, posterior.sum(axis=0), held.e_step, known)
        posterior = held.posterior()
    return posterior, fit, method.workers(fit.tables, fit.sums.counts, fit.sums.class_counts, known)


def e_step_of(method: EmMethod, crowd: CrowdLabels, posterior: Array) -> Callable[[Tables], Expectation]:
    """The E-step in this process: updates the posterior (n_items, n_classes) in place."""

    def e_step(tables: Tables) -> Expectation:
        return expectation(crowd, tables.log_confusion, tables.log_prior, posterior, hard=method.hard)

    return e_step


def iterate(
    method: EmMethod,
    counts: Array,
    class_counts: Array,
    e_step: Callable[[Tables], Expectation],
    known: PriorKnowledge = NO_KNOWLEDGE,
) -> EmResult:
    """M-step and E-step in turn, until nothing moves.

    Args:
        method: its M-step, `max_iter` and `tol`.
        counts: (n_workers, n_classes, n_classes) expected counts under the first posterior, without history.
        class_counts: (n_classes,) the same.
        e_step: updates the posterior of every item and returns the sums over all of them.
        known: passed to the M-step.
    """
    objective: list[float] = []
    while True:
        tables = method.m_step(counts, class_counts, known)
        sums = e_step(tables)
        counts, class_counts = sums.counts, sums.class_counts
        objective.append(sums.log_evidence + tables.log_density)
        converged = sums.moved <= method.tol
        if converged or len(objective) == method.max_iter:
            return EmResult(tables, sums, converged, tuple(objective))
