"""The interface of all aggregators: the Aggregator protocol, the Aggregation result, and helper functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, wraps
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.inference import posteriors
from crowdml.aggregation.inference.confusion import estimate_confusion, given_counts, infer_posterior, normalise_rows
from crowdml.aggregation.inference.kernels import TIED
from crowdml.aggregation.inference.posteriors import Rows
from crowdml.aggregation.inference.prior_and_gold import check_prior, keep_gold
from crowdml.aggregation.inference.threads import MAX_PARTS
from crowdml.labels import Array, CrowdLabels
from crowdml.support.field_values import convert_fields
from crowdml.support.memory import check_memory
from crowdml.support.search_space import Space

Ties = Literal["lowest", "first", "random", "abstain"]
TIES: tuple[str, ...] = get_args(Ties)

ABSTAINED = -1
"""The label of a tied item under ties="abstain"."""

LEAST_CELLS = 1 << 20
"""Cells that a fit may use even for a very small crowd: blocks of a pass, buffers."""

LARGEST_DRAW, DRAW_CELLS = 1 << 28, 1 << 20
"""Cells of the largest table of random numbers that break ties, and cells of one block."""

SMOOTHING = 0.01
"""Added to every count of the workers if a method has no pseudo-counts of its own."""


@dataclass(frozen=True, eq=False)
class Aggregation:
    """The result of an aggregator for a crowd.

    The large arrays `posterior` and `confusion`, and values that need these arrays, are computed at the first use.

    Attributes:
        rows: the posterior as the method computed it: a dense array, or a sparse one with the cells that are not zero.
        labels: (n_items,) the class chosen for each item; -1 for a tied item under ties="abstain".
        class_prior: (n_classes,) class probabilities, estimated or given.
        matrices: `confusion`, or a function that computes it.
        worker_quality: (n_workers,) in [0, 1]: expected share of right labels; NaN for a worker without annotations.
        errors: `worker_quality_se`, or a function that computes it.
        worker_quality_interval: (n_workers, 2) central 95 % posterior interval of the quality.  None if the method is
            not Bayesian.
        n_unlabelled: number of items without annotations.  Their posterior is the prior.
        n_iter: number of iterations.
        converged: True if the stopping tolerance was reached.
        objective: the value that the method maximises, after each iteration.  Empty if the method has no objective.
    """

    rows: Rows
    labels: NDArray[np.int64]
    class_prior: Array
    matrices: Array | Callable[[], Array]
    worker_quality: Array
    errors: Array | Callable[[], Array]
    worker_quality_interval: Array | None = None
    n_unlabelled: int = 0
    n_iter: int = 0
    converged: bool = True
    objective: tuple[float, ...] = ()

    @cached_property
    def posterior(self) -> Array:
        """(n_items, n_classes) probability of each class; rows sum to one.

        Raises:
            TooLargeError: the dense array does not fit into memory.
        """
        if isinstance(self.rows, sp.csr_array):
            n_items, n_classes = self.rows.shape
            what = f"the posterior of {n_items:,} items x {n_classes:,} classes"
            check_memory(8 * n_items * n_classes, what, "use the labels, or join rare classes")
        return posteriors.dense(self.rows)

    @cached_property
    def confusion(self) -> Array:
        """(n_workers, n_classes, n_classes) P(label given | true class) of each worker; rows (last axis) sum to one.

        If a method has no such model, the matrices are derived from its posterior.

        Raises:
            TooLargeError: the matrices do not fit into memory.
        """
        if not callable(self.matrices):
            return self.matrices
        n_workers, n_classes = len(self.worker_quality), len(self.class_prior)
        what = f"the confusion of {n_workers:,} workers x {n_classes:,} x {n_classes:,} classes"
        check_memory(4 * 8 * n_workers * n_classes**2, what, "use the workers' quality, or join rare classes")
        return self.matrices()

    @cached_property
    def worker_quality_se(self) -> Array:
        """(n_workers,) standard error of the quality; NaN for a worker without annotations."""
        errors = self.errors() if callable(self.errors) else self.errors
        return np.where(np.isnan(self.worker_quality), np.nan, errors)

    @property
    def doubt(self) -> Array:
        """(n_items,) in [0, 1]: entropy of each posterior, divided by the entropy of the uniform distribution."""
        return doubt_of(self.rows)

    def doubtful_items(self) -> NDArray[np.int64]:
        """Return the (n_items,) items, the most doubtful first.  Equally doubtful items keep their order."""
        return np.argsort(-self.doubt, kind="stable")

    def label_doubt(self, crowd: CrowdLabels) -> Array:
        """Return the (n_annotations,) probability that each label is wrong: 1 - posterior of the class given."""
        return 1 - posteriors.at(self.rows, crowd.item, crowd.label)

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


class Sizes(NamedTuple):
    """The sizes of a crowd that decide how much memory a method needs.

    Attributes:
        n_pairs: number of pairs of annotations of one item, including each annotation with itself.
    """

    n_items: int
    n_workers: int
    n_classes: int
    n_annotations: int
    n_pairs: int = 0

    @classmethod
    def of(cls, crowd: CrowdLabels) -> Sizes:
        """Return the sizes of a crowd."""
        n_pairs = int((crowd.labels_per_item.astype(np.float64) ** 2).sum())
        return cls(crowd.n_items, crowd.n_workers, crowd.n_classes, crowd.n_annotations, n_pairs)


@dataclass(frozen=True, kw_only=True)
class TieRule:
    """The base class of all aggregators: how to choose among equally probable classes.

    Args:
        ties: "lowest" takes the lowest class index, "first" takes the tied class that the item received first, "random"
            draws one of the tied classes, "abstain" gives the item no class (-1).
        seed: random seed of the method.
    """

    ties: Ties = "lowest"
    seed: int = 0

    SPACE: ClassVar[Space] = {}
    """The searchable options: name -> range."""

    IS_VOTE: ClassVar[bool] = False
    """True for a vote, which keeps single labels by itself; see `checked`."""

    def __post_init__(self) -> None:
        convert_fields(self)

    def check(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> None:
        """Raise ValueError if the method cannot use this crowd or prior.  Sizes are not checked here."""

    def peak_cells(self, sizes: Sizes) -> float:
        """Return an upper bound of the memory of `fit` beyond the crowd, in cells of 8 bytes.

        This bound holds for the methods with several posteriors and confusion matrices.  Methods with fewer or other
        arrays override it.
        """
        return dense_cells(sizes, posteriors=6, matrices=12)

    def conclude(
        self,
        crowd: CrowdLabels,
        posterior: Rows,
        class_prior: Array | None = None,
        *,
        confusion: Array | Callable[[], Array] | None = None,
        quality: Array | None = None,
        quality_se: Array | Callable[[], Array] | None = None,
        quality_interval: Array | None = None,
        n_iter: int | None = None,
        converged: bool = True,
        objective: Sequence[float] = (),
    ) -> Aggregation:
        """Return the result.  Derive from the posterior what the method does not model itself.

        Args:
            crowd, posterior: the annotations, and the posterior of their items.  `Aggregation` lists the shapes.
            class_prior: (n_classes,), or (n_items, n_classes) to average over the items.  By default the posterior.
            confusion: the matrices, or a function that computes them when they are first used.  By default the M-step
                of Dawid-Skene on the posterior.
            quality: by default sum_c p(c) P(label c | true class c).
            quality_se: by default the result of `quality_error`.
            quality_interval, converged, objective: see Aggregation.
            n_iter: by default the length of the objective, or 1 without an objective.
        """
        if class_prior is None:
            class_prior = posteriors.mean_of(posterior)
        marginal = class_prior if class_prior.ndim == 1 else class_prior.mean(axis=0)
        if quality_se is None:
            quality_se = partial(_quality_error_of, crowd, posterior, marginal)
        if quality is None and confusion is None:
            right, total = map(posteriors.dense, posteriors.right_and_total(crowd, posterior))
            quality = (right + SMOOTHING) / (total + SMOOTHING * crowd.n_classes) @ marginal
        if confusion is None:
            confusion = partial(_confusion_of, crowd, posterior)
        matrices: Any = confusion() if quality is None and callable(confusion) else confusion
        right_share: Array = np.diagonal(matrices, axis1=1, axis2=2) @ marginal if quality is None else quality
        seen = crowd.labels_per_worker > 0
        interval = None if quality_interval is None else np.where(seen[:, None], quality_interval, np.nan)
        return Aggregation(
            rows=posterior,
            labels=break_ties(posterior, crowd, self.ties, self.seed),
            class_prior=marginal,
            matrices=confusion,
            worker_quality=np.where(seen, right_share, np.nan),
            errors=quality_se,
            worker_quality_interval=interval,
            n_unlabelled=int((crowd.labels_per_item == 0).sum()),
            n_iter=(len(objective) or 1) if n_iter is None else n_iter,
            converged=converged,
            objective=tuple(objective),
        )


Method = TypeVar("Method", bound=TieRule)


def checked(fit: Callable[[Method, CrowdLabels, Any], Aggregation]) -> Callable[..., Aggregation]:
    """Wrap the `fit` of an aggregator, so that every method handles two kinds of crowds in the same way.

    A crowd for which the method needs more memory than is free is refused before any work.  A crowd in which no item
    has two labels, and nothing else is known, keeps its labels (`n_iter` 0): such labels say nothing about the workers,
    and what a method learns from them comes only from its prior.
    """

    @wraps(fit)
    def checked_fit(self: Method, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        self.check(crowd, prior)
        check_size(self, Sizes.of(crowd))
        if not self.IS_VOTE and nothing_to_learn(crowd, prior):
            return self.conclude(crowd, sparse_shares(crowd, check_prior(prior, crowd)), n_iter=0)
        return fit(self, crowd, prior)

    return checked_fit


def check_size(method: TieRule, sizes: Sizes) -> None:
    """Raise TooLargeError if the method needs more memory for a crowd of these sizes than is free."""
    what = f"{type(method).__name__} for {sizes.n_annotations:,} labels of {sizes.n_items:,} items by "
    what += f"{sizes.n_workers:,} workers with {sizes.n_classes:,} classes"
    way_out = "use method mv, wawa or zero_based_skill, whose memory grows only with the labels, or join rare classes"
    check_memory(8 * method.peak_cells(sizes), what, way_out)


def dense_cells(sizes: Sizes, *, posteriors: float, matrices: float = 0, tables: float = 4) -> float:
    """Return the cells of arrays at the peak of a fit.

    Args:
        posteriors: number of arrays (n_items, n_classes).
        matrices: number of arrays (n_workers, n_classes, n_classes).
        tables: number of arrays (n_workers, n_classes).
    """
    n_items, n_workers, n_classes, n_annotations, _ = sizes
    result = n_workers * n_classes * (n_classes if matrices else 2)
    # The parts of a pass and their sum.  `threads.cut` limits them by the number of multiplications.
    parts = min(2 * MAX_PARTS * result, n_annotations * n_classes)
    per_class = posteriors * n_items + n_workers * (tables + matrices * n_classes)
    return n_classes * per_class + parts + 8 * n_annotations + 8 * n_items + 32 * n_workers + LEAST_CELLS


def sparse_cells(sizes: Sizes) -> float:
    """Return the cells at the peak of a vote, whose posterior is sparse."""
    n_items, n_workers, n_classes, n_annotations, _ = sizes
    return 8 * (n_annotations + n_items + n_workers) + 4 * MAX_PARTS * n_classes + LEAST_CELLS


def pair_cells(sizes: Sizes) -> float:
    """Return the cells of the tables of pairs of workers that share an item, as sparse matrices."""
    return 16 * sizes.n_pairs


def nothing_to_learn(crowd: CrowdLabels, prior: ArrayLike | None) -> bool:
    """Return True if no item has two labels, and nothing else is known about items or workers."""
    known = crowd.gold is not None or crowd.history is not None or (prior is not None and np.ndim(prior) == 2)
    return not known and int(crowd.labels_per_item.max()) < 2


def _confusion_of(crowd: CrowdLabels, posterior: Rows) -> Array:
    return estimate_confusion(crowd, posteriors.dense(posterior), SMOOTHING)


def _quality_error_of(crowd: CrowdLabels, posterior: Rows, class_prior: Array) -> Array:
    return quality_error(*posteriors.right_and_total(crowd, posterior), class_prior)


def doubt_of(posterior: Rows) -> Array:
    """Return the (n_items,) entropy of each row of (n_items, n_classes), in [0, 1]; 1 is the uniform distribution."""
    return posteriors.entropies(posterior) / np.log(max(posterior.shape[1], 2)) + 0.0  # not -0, which files would show


def named_classes(names: NDArray[Any], labels: NDArray[np.integer]) -> NDArray[Any]:
    """Return the (n,) names of classes; None for an item without a class."""
    named = names[labels]
    if (labels == ABSTAINED).any():
        named = named.astype(object)
        named[labels == ABSTAINED] = None
    return named


def break_ties(scores: Rows, crowd: CrowdLabels, ties: Ties, seed: int = 0) -> NDArray[np.int64]:
    """Return the (n_items,) best class of each row of (n_items, n_classes) scores.  TieRule lists the rules."""
    if isinstance(scores, sp.csr_array):
        return _break_sparse_ties(scores, crowd, ties, seed)
    # A rounding error must not decide between equal classes, so "best" has a tolerance.
    best = scores >= scores.max(axis=1, keepdims=True) - TIED
    if ties == "lowest":
        return best.argmax(axis=1)
    if ties == "abstain":
        return np.where(best.sum(axis=1) == 1, best.argmax(axis=1), ABSTAINED)
    if ties == "random":
        return np.where(best, np.random.default_rng(seed).random(scores.shape), -1.0).argmax(axis=1)
    given_at = np.full(scores.shape, crowd.n_annotations)
    np.minimum.at(given_at, (crowd.item, crowd.label), np.arange(crowd.n_annotations))
    return np.where(best, given_at, crowd.n_annotations + 1).argmin(axis=1)


def _break_sparse_ties(scores: sp.csr_array, crowd: CrowdLabels, ties: Ties, seed: int) -> NDArray[np.int64]:
    is_best, chosen, n_best = posteriors.best_cells(scores, TIED)
    if ties == "lowest":
        return chosen
    if ties == "abstain":
        return np.where(n_best == 1, chosen, ABSTAINED)
    best = np.flatnonzero(is_best)
    item, label = posteriors.row_of_cell(scores)[best], scores.indices[best].astype(np.int64)
    if ties == "random":
        order = np.lexsort((_draws(item, label, scores.shape, seed), item))
        chosen[item[order]] = label[order]  # the last assignment to an item wins: the largest draw
        return chosen
    tied = sp.csr_array((is_best.astype(np.float64), scores.indices, scores.indptr), scores.shape)
    given = np.flatnonzero(posteriors.at(tied, crowd.item, crowd.label))[::-1]
    chosen[crowd.item[given]] = crowd.label[given]  # the last assignment to an item wins: its first answer
    return chosen


def _draws(item: NDArray[np.int64], label: NDArray[np.int64], shape: tuple[int, int], seed: int) -> Array:
    """Return a random number for each pair of item and class (n,), sorted by item.

    The numbers are the entries of a table (n_items, n_classes) of draws, which is made block by block, unless the table
    would be very large.
    """
    n_items, n_classes = shape
    rng = np.random.default_rng(seed)
    if n_items * n_classes > LARGEST_DRAW:
        return rng.random(len(item))
    draws = np.empty(len(item))
    n_rows = max(1, DRAW_CELLS // n_classes)
    for row in range(0, n_items, n_rows):
        block = rng.random((min(n_rows, n_items - row), n_classes))
        cells = slice(*np.searchsorted(item, (row, row + n_rows)))
        draws[cells] = block[item[cells] - row, label[cells]]
    return draws


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


def sparse_shares(crowd: CrowdLabels, prior: Array | None = None) -> sp.csr_array:
    """Return `vote_shares` as a sparse array."""
    return with_known_items(crowd, posteriors.normalised(posteriors.count_votes(crowd)), prior)


def with_known_items(crowd: CrowdLabels, shares: sp.csr_array, prior: Array | None = None) -> sp.csr_array:
    """Return the shares, but probability 1 for the class of a gold item, and the prior for an item without votes.

    The prior is (n_classes,) or (n_items, n_classes).  None is uniform.
    """
    empty = np.flatnonzero(crowd.labels_per_item == 0)
    if len(empty):
        check_memory(16 * len(empty) * crowd.n_classes, f"the prior of {len(empty):,} items without labels",
                     "leave out these items, or join rare classes")  # fmt: skip
        fallback = np.full(crowd.n_classes, 1 / crowd.n_classes) if prior is None else prior
        rows = np.broadcast_to(fallback, (len(empty), crowd.n_classes)) if fallback.ndim == 1 else fallback[empty]
        shares = posteriors.replace_rows(shares, empty, sp.csr_array(rows))
    if crowd.gold is None:
        return shares
    known = np.flatnonzero(crowd.gold >= 0)
    return posteriors.replace_rows(shares, known, posteriors.certain(crowd.gold[known], crowd.n_classes))


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


def agreement(crowd: CrowdLabels, posterior: Rows) -> Array:
    """Return the (n_workers,) mean posterior probability of the labels of each worker; NaN without annotations."""
    given = posteriors.at(posterior, crowd.item, crowd.label)
    total = np.bincount(crowd.worker, weights=given, minlength=crowd.n_workers)
    with np.errstate(invalid="ignore"):
        return total / crowd.labels_per_worker


def quality_error(right: Rows, total: Rows, class_prior: Array) -> Array:
    """Return the (n_workers,) standard error of sum_c p(c) P(label c | true class c).

    Each P(label c | true class c) has the variance of its Beta posterior under a flat prior.  This variance is defined
    for zero answers, and is never zero.  The uncertainty of the true classes enters only through the expected counts.

    Args:
        right, total: (n_workers, n_classes) expected numbers of right answers and of all answers to items of a class.
    """
    square = class_prior**2
    if not isinstance(total, sp.csr_array):
        return np.sqrt(_variance(right, total) @ square)
    # A class without answers has the variance of zero answers, which most cells of a sparse table have.
    both = sp.csr_array(total + 1j * right)
    answers: Any = both.data
    more = _variance(answers.imag, answers.real) - _variance(0.0, 0.0)
    variance = sp.csr_array((more, both.indices, both.indptr), both.shape) @ square
    return np.sqrt(variance + _variance(0.0, 0.0) * square.sum())


def _variance(right: Any, total: Any) -> Any:
    share = (right + 1) / (total + 2)
    return share * (1 - share) / (total + 3)


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
