"""Spectral EM: Dawid-Skene EM that starts from the moments of three groups of workers.

Y. Zhang, X. Chen, D. Zhou, M. I. Jordan, "Spectral Methods Meet EM: A Provably Optimal Algorithm for Crowdsourcing",
NIPS 2014 and JMLR 17 (2016), Algorithm 1.  Given the true class, the votes of the groups are independent.  So their
second and third moments are sums over the classes of products of the groups' mean votes, and they determine these mean
votes.  The tensor of third moments has n_classes**3 entries.

The tensor power method runs on all components at once: a step maps every vector v to T(v, v) and takes the nearest
orthogonal basis.  This replaces random starts and deflation.  The method starts from the mean votes of the items that
the crowd puts into each class.  So the result does not depend on the seed or on the order of workers, items or classes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import permutations
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from crowdml.aggregation.aggregator import (
    Aggregation,
    Sizes,
    agreement,
    check_choice,
    checked,
    dense_cells,
    first_posterior,
    sparse_shares,
)
from crowdml.aggregation.dawid_skene import DawidSkene
from crowdml.aggregation.inference.confusion import given_counts, infer_posterior, normalise_rows, one_hot
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.aggregation.inference.worker_colours import answer_hashes, worker_colours
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Choice, Float, Space

Grouping = Literal["dealt", "index"]

LEFT_OUT = -1
"""The group of a worker who is in no group."""

LEAST_EIGENVALUE = 1e-6
"""The moments determine the classes if every eigenvalue of the second moment is above this share of the largest."""

LEAST_PROBABILITY = 1e-6
"""Lower limit of probabilities, as in the authors' code, because least squares can give negative values."""

SETTLED = 1e-6
"""Largest change of a vector in the last power step."""

POWER_STEPS = 200
"""Maximum number of power steps.  Convergence is quadratic, so ten steps are usual."""


@dataclass(frozen=True)
class SpectralEm(DawidSkene):
    """Dawid-Skene EM from the spectral start, with all options of DawidSkene.

    If the moments do not determine the classes, EM starts like DawidSkene, and `converged` is False.  This happens with
    fewer than three workers, or if some classes cannot be told apart.

    Args:
        groups: "dealt" sorts the workers by number of annotations and agreement with the vote, and deals them to the
            three groups in turn.  This balances the groups, and does not depend on the order of the workers: workers
            who differ in nothing but their names and their items are in no group.  "index" is the authors' rule: the
            worker's index modulo 3.
    """

    groups: Grouping = "dealt"

    SPACE: ClassVar[Space] = {
        "smoothing": Float(1e-4, 1, log=True),
        "diagonal": Float(0, 2),
        "class_prior": Choice("estimated", "uniform"),
        "groups": Choice("dealt", "index"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "groups", "dealt", "index")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return dense_cells(sizes, posteriors=14, matrices=14) + 10 * sizes.n_classes**3

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Compute the spectral start and run EM; see DawidSkene.fit."""
        result = super().fit(crowd, prior)
        determined = self.estimate(crowd, check_prior(prior, crowd)) is not None
        return result if determined else replace(result, converged=False)

    def start(self, crowd: CrowdLabels, prior: Array | None = None) -> Array:
        """Return the (n_items, n_classes) posterior under the spectral estimate of the workers.

        Gold labels and histories help to match solutions to classes, and histories are added to the counts.
        """
        estimate = self.estimate(crowd, prior)
        if estimate is None:
            return super().start(crowd, prior)
        confusion, weight = estimate
        counts = confusion * weight[:, None] * crowd.labels_per_worker[:, None, None]
        class_prior = self.class_prior_from(weight) if prior is None else prior
        pseudo_counts = self.pseudo_counts(crowd.n_classes, crowd.history)
        posterior, _ = infer_posterior(crowd, self.confusion_from(counts + pseudo_counts), class_prior)
        return one_hot(posterior.argmax(axis=1), crowd.n_classes) if self.hard else posterior

    def estimate(self, crowd: CrowdLabels, prior: Array | None = None) -> tuple[Array, Array] | None:
        """Return the result of `worker_confusion`, or None if the moments do not determine the classes."""
        group = group_workers(crowd, self.groups)
        moments = group_moments(crowd, group)
        if moments is None:
            return None
        with suppress(UndeterminedError):
            return worker_confusion(crowd, group, moments, first_posterior(crowd, prior))
        return None


class UndeterminedError(ArithmeticError):
    """The moments of the groups do not determine the classes."""


class GroupMoments(NamedTuple):
    """Moments of the groups' votes z_g of an item, (n_classes,) each.  A missing label counts as zero.

    Attributes:
        votes: (3, n_items, n_classes) number of workers in the group who gave the item that label.
        pair: (3, 3, n_classes, n_classes) mean of the products z_g z_h'; zero for g = h.
        triple: (n_classes, n_classes, n_classes) mean of the products of z_0, z_1 and z_2.
        second: (3, n_classes, n_classes) sum_c p_c m_gc m_gc', with the mean votes m_gc of group g in class c.
    """

    votes: Array
    pair: Array
    triple: Array
    second: Array


def group_workers(crowd: CrowdLabels, groups: Grouping) -> NDArray[np.intp]:
    """Return the (n_workers,) group of each worker: 0, 1 or 2, or LEFT_OUT.  See SpectralEm."""
    if groups == "index":
        return (np.arange(crowd.n_workers) + 1) % 3
    # Round, so that the order of the annotations in a sum cannot decide between equal workers.
    agreed = np.round(agreement(crowd, sparse_shares(crowd)), 9)
    colour = worker_colours(crowd)
    order = np.lexsort((colour, -agreed, -crowd.labels_per_worker))
    # Of workers with equal answers, any one may be first.  Other workers of one colour can be told apart only by name.
    _, number, size = np.unique(colour, return_inverse=True, return_counts=True)
    _, equal, n_equal = np.unique(answer_hashes(crowd), return_inverse=True, return_counts=True)
    dealt = order[(size[number] == n_equal[equal])[order]]
    group = np.full(crowd.n_workers, LEFT_OUT, np.intp)
    group[dealt] = np.arange(len(dealt)) % 3
    return group


def group_moments(crowd: CrowdLabels, group: NDArray[np.intp]) -> GroupMoments | None:
    """Return the moments, or None if they do not determine the classes."""
    n_items, n_classes = crowd.n_items, crowd.n_classes
    cell = (group[crowd.worker] * n_items + crowd.item) * n_classes + crowd.label
    cell = cell[group[crowd.worker] != LEFT_OUT]
    votes = np.bincount(cell, minlength=3 * n_items * n_classes).reshape(3, n_items, n_classes).astype(np.float64)
    pair = np.zeros((3, 3, n_classes, n_classes))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        pair[a, b] = votes[a].T @ votes[b] / n_items
        pair[b, a] = pair[a, b].T
    second = np.empty((3, n_classes, n_classes))
    for a, b, c in ((1, 2, 0), (2, 0, 1), (0, 1, 2)):
        spectrum = np.linalg.svd(pair[a, b], compute_uv=False)
        if spectrum[-1] <= LEAST_EIGENVALUE * spectrum[0]:
            return None
        product = pair[c, b] @ np.linalg.solve(pair[a, b], pair[a, c])
        second[c] = (product + product.T) / 2
        eigenvalues = np.linalg.eigvalsh(second[c])
        if eigenvalues[0] <= LEAST_EIGENVALUE * eigenvalues[-1]:
            return None
    triple = np.empty((n_classes,) * 3)
    for label in range(n_classes):
        given = votes[0, :, label] > 0
        triple[label] = (votes[1][given] * votes[0][given, label, None]).T @ votes[2][given]
    return GroupMoments(votes, pair, triple / n_items, second)


def worker_confusion(
    crowd: CrowdLabels, group: NDArray[np.intp], moments: GroupMoments, posterior: Array
) -> tuple[Array, Array]:
    """Estimate the workers' matrices by least squares, against the mean votes of the other groups.

    A rough posterior (n_items, n_classes) says which solution of the moments belongs to which class.

    Returns:
        (n_workers, n_classes, n_classes) P(label given | true class), and the (n_classes,) weights of the classes.
    """
    means, weights = zip(*(mean_votes(moments, number, posterior) for number in range(3)), strict=True)
    weight = np.mean(weights, axis=0)
    confusion = np.empty((crowd.n_workers, crowd.n_classes, crowd.n_classes))
    for number in (0, 1, 2, LEFT_OUT):
        mine = group == number
        others = [other for other in range(3) if other != number]
        votes = moments.votes[others].sum(axis=0)
        expected = sum(means[other] for other in others) * weight
        # At [w, voted, given]: the sum over classes of the expected votes times P(label given | class).
        joint = given_counts(crowd, votes, history=False)[mine] / crowd.n_items
        solved = np.linalg.lstsq(expected, joint.transpose(1, 0, 2).reshape(crowd.n_classes, -1))[0]
        confusion[mine] = solved.reshape(crowd.n_classes, -1, crowd.n_classes).transpose(1, 0, 2)
    return normalise_rows(np.maximum(confusion, LEAST_PROBABILITY)), weight / weight.sum()


def mean_votes(moments: GroupMoments, group: int, posterior: Array) -> tuple[Array, Array]:
    """Return a group's mean votes (n_classes voted, n_classes true), and the weights of the classes (n_classes,)."""
    a, b = (group + 1) % 3, (group + 2) % 3
    pair = moments.pair
    # Maps from the votes of groups a and b to the expected votes of this group.
    from_a = np.linalg.solve(pair[a, b].T, pair[group, b].T).T
    from_b = np.linalg.solve(pair[b, a].T, pair[group, a].T).T
    third = np.einsum("abc,xa,yb->xyc", moments.triple.transpose(a, b, group), from_a, from_b, optimize=True)
    third = np.mean([third.transpose(axes) for axes in permutations(range(3))], axis=0)
    eigenvalues, basis = np.linalg.eigh(moments.second[group])
    whiten = basis / np.sqrt(eigenvalues)
    colour = basis * np.sqrt(eigenvalues)
    whitened = np.einsum("xyz,xi,yj,zk->ijk", third, whiten, whiten, whiten, optimize=True)
    anchors = moments.votes[group].T @ posterior / np.maximum(posterior.sum(axis=0), LEAST_PROBABILITY)
    vectors = power_method(whitened, whiten.T @ anchors)
    strength = np.einsum("ijk,ih,jh,kh->h", whitened, vectors, vectors, vectors, optimize=True)
    vectors, strength = vectors * np.sign(strength), np.maximum(np.abs(strength), LEAST_PROBABILITY)
    mean = colour @ vectors * strength
    distance = ((anchors[:, :, None] - mean[:, None, :]) ** 2).sum(axis=0)
    _, component = linear_sum_assignment(distance)
    return mean[:, component], strength[component] ** -2.0


def power_method(tensor: Array, start: Array) -> Array:
    """Return the (n, n) orthonormal vectors, in columns, whose cubes make up a symmetric (n, n, n) tensor.

    Args:
        tensor: sum_h s_h v_h (x) v_h (x) v_h with orthonormal v_h and positive s_h, or close to such a sum.
        start: (n, n) vectors near the solution, of any length.  They need not be orthogonal.

    Raises:
        UndeterminedError: the vectors do not settle.  Then the last vectors would depend on rounding errors.
    """
    vectors = nearest_basis(start / np.maximum(np.linalg.norm(start, axis=0), LEAST_PROBABILITY))
    moved = np.inf
    for _ in range(POWER_STEPS):
        updated = nearest_basis(np.einsum("ijk,jh,kh->ih", tensor, vectors, vectors, optimize=True))
        moved = np.abs(updated - vectors).max()
        vectors = updated
        if moved <= 1e-12:
            break
    if moved > SETTLED:
        raise UndeterminedError(f"the power method moves by {moved:.2g} after {POWER_STEPS} steps")
    return vectors


def nearest_basis(vectors: Array) -> Array:
    """Return the orthogonal matrix nearest to a square matrix."""
    left, _, right = np.linalg.svd(vectors)
    return left @ right
