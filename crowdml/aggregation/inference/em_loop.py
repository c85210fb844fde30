"""The EM loop, and the interface of the methods that run in the loop.

The E-step of an item needs only the annotations of the item and the tables.  The M-step needs only sums over the items.
So one process or a thousand processes can add up the sums for the same method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from numpy.typing import ArrayLike

from crowdml.aggregation.inference.confusion import given_counts
from crowdml.aggregation.inference.kernels import Expectation, Tables, expectation
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.labels import Array, CrowdLabels


class PriorKnowledge(NamedTuple):
    """What is known in addition to the annotations.

    Attributes:
        history: (n_workers, n_classes, n_classes) earlier answers of the workers, see CrowdLabels; or None.
        prior: (n_classes,) or (n_items, n_classes) class probabilities that stay fixed; or None.
    """

    history: Array | None = None
    prior: Array | None = None


NO_KNOWLEDGE = PriorKnowledge()


class WorkerEstimates(NamedTuple):
    """The final estimates of the workers, as arguments of `TieRule.conclude`."""

    confusion: Array
    class_prior: Array
    quality: Array
    quality_se: Array
    quality_interval: Array | None


@runtime_checkable
class EmMethod(Protocol):
    """A method whose E-step is `kernels.expectation`, and whose M-step uses only sums over items."""

    @property
    def hard(self) -> bool:
        """True if the E-step puts the whole weight of an item on its most probable class."""
        ...

    @property
    def max_iter(self) -> int:
        """Maximum number of iterations."""
        ...

    @property
    def tol(self) -> float:
        """Stop when no posterior probability changes by more than this."""
        ...

    def start(self, crowd: CrowdLabels, prior: Array | None = None) -> Array:
        """Return the (n_items, n_classes) first posterior.

        If nothing is known about the workers, each row depends only on the annotations of its item.
        """
        ...

    def m_step(self, counts: Array, class_counts: Array, known: PriorKnowledge = NO_KNOWLEDGE) -> Tables:
        """Return the tables that the expected counts imply.

        Args:
            counts: (n_workers, n_classes, n_classes) expected number of labels [w, true, given], without history.
            class_counts: (n_classes,) expected number of items.
            known: histories and fixed prior.
        """
        ...

    def workers(
        self, tables: Tables, counts: Array, class_counts: Array, known: PriorKnowledge = NO_KNOWLEDGE
    ) -> WorkerEstimates:
        """Return the final estimates from the last tables, and from the counts of the E-step after them."""
        ...


class EmResult(NamedTuple):
    """The result of EM: last tables, sums of the E-step after them, convergence, objective per iteration."""

    tables: Tables
    sums: Expectation
    converged: bool
    objective: tuple[float, ...]


def fit_em(
    method: EmMethod, crowd: CrowdLabels, prior: ArrayLike | None, device: str = "cpu"
) -> tuple[Array, EmResult, WorkerEstimates]:
    """Run EM on one machine.

    Args:
        prior: (n_classes,) or (n_items, n_classes), kept fixed; or None.
        device: "cpu", or a torch device that holds crowd and posterior.

    Returns:
        The posterior (n_items, n_classes), the result of EM, and the estimates of the workers.
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
    """Return the E-step in this process.  It updates the posterior (n_items, n_classes) in place."""

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
    """Repeat M-step and E-step until the posterior stays the same.

    Args:
        counts, class_counts: the expected counts under the first posterior; see `EmMethod.m_step`.
        e_step: updates the posterior of every item, and returns the sums over all items.
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
