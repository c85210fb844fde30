"""The interface of all aggregators: the Aggregator protocol, the Aggregation result, and helper functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from crowdml.aggregation.inference.confusion import estimate_confusion, given_counts, infer_posterior, normalise_rows
from crowdml.aggregation.inference.prior_and_gold import keep_gold
from crowdml.labels import Array, CrowdLabels
from crowdml.support.field_values import convert_fields
from crowdml.support.search_space import Space

Ties = Literal["lowest", "first", "random"]
TIES: tuple[str, ...] = get_args(Ties)

TIED = 1e-9
"""Classes whose probabilities differ by at most this much are tied, because of rounding errors."""

SMOOTHING = 0.01
"""Added to every count of the workers if a method has no pseudo-counts of its own."""


@dataclass(frozen=True, eq=False)
class Aggregation:
    """The result of an aggregator for a crowd.

    Attributes:
        posterior: (n_items, n_classes) probability of each class; rows sum to one.
        labels: (n_items,) the class chosen for each item.
        class_prior: (n_classes,) class probabilities, estimated or given.
        confusion: (n_workers, n_classes, n_classes) P(label given | true class) of each worker; rows (last axis) sum to
            one.  If a method has no such model, the matrices are derived from its posterior.
        worker_quality: (n_workers,) in [0, 1]: expected share of right labels; NaN for a worker without annotations.
        worker_quality_se: (n_workers,) standard error of the quality; NaN for a worker without annotations.
        worker_quality_interval: (n_workers, 2) central 95 % posterior interval of the quality.  None if the method is
            not Bayesian.
        n_unlabelled: number of items without annotations.  Their posterior is the prior.
        n_iter: number of iterations.
        converged: True if the stopping tolerance was reached.
        objective: the value that the method maximises, after each iteration.  Empty if the method has no objective.
    """

    posterior: Array
    labels: NDArray[np.int64]
    class_prior: Array
    confusion: Array
    worker_quality: Array
    worker_quality_se: Array
    worker_quality_interval: Array | None = None
    n_unlabelled: int = 0
    n_iter: int = 0
    converged: bool = True
    objective: tuple[float, ...] = ()

    @property
    def doubt(self) -> Array:
        """(n_items,) in [0, 1]: entropy of each posterior, divided by the entropy of the uniform distribution."""
        return doubt_of(self.posterior)

    def doubtful_items(self) -> NDArray[np.int64]:
        """Return the (n_items,) items, the most doubtful first.  Equally doubtful items keep their order."""
        return np.argsort(-self.doubt, kind="stable")

    def label_doubt(self, crowd: CrowdLabels) -> Array:
        """Return the (n_annotations,) probability that each label is wrong: 1 - posterior of the class given."""
        return 1 - self.posterior[crowd.item, crowd.label]

    def doubtful_labels(self, crowd: CrowdLabels) -> NDArray[np.int64]:
        """Return the (n_annotations,) annotations, the most doubtful first.  Equally doubtful ones keep their order."""
        return np.argsort(-self.label_doubt(crowd), kind="stable")


class Aggregator(Protocol):
    """A dataclass of hyper-parameters with a method that turns a crowd into a posterior."""

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Aggregate the labels of the crowd.

        Args:
            crowd: the annotations.  Items in `crowd.gold` keep their known class.  `crowd.history` counts as earlier
                answers of the workers.
            prior: (n_classes,), or (n_items, n_classes) for one prior per item.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TieRule:
    """The base class of all aggregators: how to choose among equally probable classes.

    Args:
        ties: "lowest" takes the lowest class index, "first" takes the tied class that the item received first, "random"
            draws one of the tied classes.
        seed: random seed of the method.
    """

    ties: Ties = "lowest"
    seed: int = 0

    SPACE: ClassVar[Space] = {}
    """The searchable options: name -> range."""

    def __post_init__(self) -> None:
        convert_fields(self)

    def conclude(
        self,
        crowd: CrowdLabels,
        posterior: Array,
        class_prior: Array | None = None,
        *,
        confusion: Array | None = None,
        counts: Array | None = None,
        quality: Array | None = None,
        quality_se: Array | None = None,
        quality_interval: Array | None = None,
        n_iter: int | None = None,
        converged: bool = True,
        objective: Sequence[float] = (),
    ) -> Aggregation:
        """Return the result.  Derive from the posterior what the method does not model itself.

        Args:
            crowd, posterior: the annotations, and the posterior of their items.  `Aggregation` lists the shapes.
            class_prior: (n_classes,), or (n_items, n_classes) to average over the items.  By default the posterior.
            confusion: by default the M-step of Dawid-Skene on the posterior.
            counts: (n_workers, n_classes, n_classes) the result of `given_counts`, if already computed.
            quality: by default sum_c p(c) P(label c | true class c).
            quality_se: by default the result of `quality_error`.
            quality_interval, converged, objective: see Aggregation.
            n_iter: by default the length of the objective, or 1 without an objective.
        """
        if class_prior is None:
            class_prior = posterior
        marginal = class_prior if class_prior.ndim == 1 else class_prior.mean(axis=0)
        if confusion is None or quality_se is None:
            given = given_counts(crowd, posterior) if counts is None else counts
            confusion = normalise_rows(given + SMOOTHING) if confusion is None else confusion
            quality_se = quality_error(given, marginal) if quality_se is None else quality_se
        right = np.diagonal(confusion, axis1=1, axis2=2) @ marginal if quality is None else quality
        seen = crowd.labels_per_worker > 0
        interval = None if quality_interval is None else np.where(seen[:, None], quality_interval, np.nan)
        return Aggregation(
            posterior=posterior,
            labels=break_ties(posterior, crowd, self.ties, self.seed),
            class_prior=marginal,
            confusion=confusion,
            worker_quality=np.where(seen, right, np.nan),
            worker_quality_se=np.where(seen, quality_se, np.nan),
            worker_quality_interval=interval,
            n_unlabelled=int((crowd.labels_per_item == 0).sum()),
            n_iter=(len(objective) or 1) if n_iter is None else n_iter,
            converged=converged,
            objective=tuple(objective),
        )


def doubt_of(posterior: Array) -> Array:
    """Return the (n_items,) entropy of each row of (n_items, n_classes), in [0, 1]; 1 is the uniform distribution."""
    return stats.entropy(posterior, axis=1) / np.log(max(posterior.shape[1], 2))


def break_ties(scores: Array, crowd: CrowdLabels, ties: Ties, seed: int = 0) -> NDArray[np.int64]:
    """Return the (n_items,) best class of each row of (n_items, n_classes) scores.  TieRule lists the rules."""
    # A rounding error must not decide between equal classes, so "best" has a tolerance.
    best = scores >= scores.max(axis=1, keepdims=True) - TIED
    if ties == "lowest":
        return best.argmax(axis=1)
    if ties == "random":
        return np.where(best, np.random.default_rng(seed).random(scores.shape), -1.0).argmax(axis=1)
    given_at = np.full(scores.shape, crowd.n_annotations)
    np.minimum.at(given_at, (crowd.item, crowd.label), np.arange(crowd.n_annotations))
    return np.where(best, given_at, crowd.n_annotations + 1).argmin(axis=1)


def fractional_error(scores: Array, truth: NDArray[np.integer], items: NDArray[np.bool_] | None = None) -> float:
    """Return the share of wrong answers.  In a tie of k classes, the right class counts 1/k, whatever the tie rule.

    Args:
        scores: (n_items, n_classes) a posterior, or votes.
        truth: (n_items,) true classes.  Items with -1 are not counted.
        items: (n_items,) True for the items to count.  By default all items.
    """
    counted = truth >= 0 if items is None else items & (truth >= 0)
    best = scores[counted] >= scores[counted].max(axis=1, keepdims=True) - TIED
    credit = best[np.arange(len(best)), truth[counted]] / best.sum(axis=1)
    return float(1 - credit.mean())


def vote_shares(crowd: CrowdLabels, prior: Array | None = None) -> Array:
    """Return the (n_items, n_classes) share of votes per class, certainty for a gold item.

    An item without votes gets the prior, or else the uniform distribution.
    """
    total = crowd.votes.sum(axis=1, keepdims=True)
    shares = crowd.votes / np.maximum(total, 1)
    empty = total[:, 0] == 0
    if empty.any():
        fallback = np.full(crowd.n_classes, 1 / crowd.n_classes) if prior is None else prior
        shares[empty] = fallback if fallback.ndim == 1 else fallback[empty]
    return keep_gold(crowd, shares)


def first_posterior(crowd: CrowdLabels, prior: Array | None = None) -> Array:
    """Return the (n_items, n_classes) posterior to start EM from.

    The posterior holds the vote shares, corrected by the gold labels and histories of the crowd.  Without this
    correction, the many votes would outweigh the few known items in the first M-step, and EM would stay close to the
    mistakes of the majority.  In the correction, a worker's agreement with the vote counts as one answer per class.
    """
    shares = vote_shares(crowd, prior)
    if crowd.gold is None and crowd.history is None:
        return shares
    known = keep_gold(crowd, np.zeros_like(shares))
    confusion = normalise_rows(given_counts(crowd, known) + estimate_confusion(crowd, shares, SMOOTHING))
    return infer_posterior(crowd, confusion, shares.mean(axis=0) if prior is None else prior)[0]


def agreement(crowd: CrowdLabels, posterior: Array) -> Array:
    """Return the (n_workers,) mean posterior probability of the labels of each worker; NaN without annotations."""
    given = posterior[crowd.item, crowd.label]
    total = np.bincount(crowd.worker, weights=given, minlength=crowd.n_workers)
    with np.errstate(invalid="ignore"):
        return total / crowd.labels_per_worker


def quality_error(counts: Array, class_prior: Array) -> Array:
    """Return the (n_workers,) standard error of sum_c p(c) P(label c | true class c).

    Each P(label c | true class c) has the variance of its Beta posterior under a flat prior.  This variance is defined
    for zero answers, and is never zero.  The uncertainty of the true classes enters only through the expected counts.

    Args:
        counts: (n_workers, n_classes, n_classes) expected number of labels [w, true, given].
    """
    right = np.diagonal(counts, axis1=1, axis2=2) + 1
    total = counts.sum(axis=2) + 2
    share = right / total
    return np.sqrt((share * (1 - share) / (total + 1)) @ class_prior**2)


def check_positive(method: object, *names: str) -> None:
    """Raise ValueError unless the named fields of the method are positive and finite."""
    for name in names:
        value = getattr(method, name)
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")


def check_least(method: object, least: int, *names: str) -> None:
    """Raise ValueError unless the named fields of the method are at least `least`."""
    for name in names:
        value = getattr(method, name)
        if not value >= least:
            raise ValueError(f"{name} must {f'be at least {least}' if least else 'not be negative'}, got {value}")


def check_choice(method: object, name: str, *choices: str) -> None:
    """Raise ValueError unless the named field of the method is one of the choices."""
    if getattr(method, name) not in choices:
        wanted = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{name} must be {wanted}, got {getattr(method, name)!r}")


def refuse(
    crowd: CrowdLabels, method: str, *, binary_only: bool = False, gold: bool = True, history: bool = True
) -> None:
    """Raise ValueError if the crowd has something that the method cannot use.

    Args:
        method: the name of the method, for the message.
        binary_only: True if the method needs exactly two classes.
        gold, history: False if the method cannot use gold labels, or worker histories.
    """
    if binary_only and crowd.n_classes != 2:
        raise ValueError(f"{method} is defined for 2 classes only, the crowd has {crowd.n_classes}")
    if not gold and crowd.gold is not None:
        raise ValueError(f"{method} cannot use gold labels; use a method with an E-step, such as em")
    if not history and crowd.history is not None:
        raise ValueError(f"{method} cannot use worker histories; use a method that counts answers, such as em")
