"""Draw the annotations of a simulated crowd."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crowdml.labels import CrowdLabels
from crowdml.noise.assignment import Assignment, EveryItem, crowd_of_asked
from crowdml.noise.counter_random import make_key, uniform, uniform_of
from crowdml.noise.missing import MissingRule, check_missing, n_removed, remove_labels
from crowdml.noise.workers import Workers

_ASSIGNMENT, _LABELS, _DIFFICULTY = range(3)
"""The purposes of the keys of `make_key`.  `missing` uses purpose 3, machine annotators use 4 and 5."""


def simulate_crowd(
    truth: NDArray[np.integer],
    workers: Workers | NDArray[np.float64],
    *,
    assignment: Assignment | None = None,
    difficulty: float = 0.0,
    missing_rate: float = 0.0,
    missing: MissingRule = "floor",
    seed: int = 0,
) -> CrowdLabels:
    """Draw the labels of the workers, then remove some labels.

    The answers of a worker do not depend on the other workers.  If every worker labels every item, the crowd of 3
    workers equals the first 3 workers of the crowd of 12, before labels are removed.  In the other designs the answer
    of a worker to an item does not depend on who else is asked.  A higher missing rate removes all labels that a lower
    rate removes, and more.

    Args:
        truth: (n_items,) true classes.
        workers: the workers, or only their transition matrices (n_workers, n_classes, n_classes).
        assignment: which workers are asked about each item; the default asks every worker about every item.
        difficulty: how much the probability of a wrong label differs between items, in [0, 1]; see
            `ItemDifficulty.spread`.
        missing_rate: in [0, 1).
        missing: the rule of the removal; see `remove_labels`.
        seed: the seed of all draws.

    Raises:
        ValueError: a rate is out of range, the rule is unknown, rows do not sum to one, or no label is left.
    """
    check_missing(missing_rate, missing)
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty must be in [0, 1], got {difficulty}")
    crowd = workers if isinstance(workers, Workers) else Workers(np.asarray(workers))
    design = assignment or EveryItem()
    if isinstance(design, EveryItem) and difficulty == 0:
        return _every_item(truth, crowd, missing_rate, missing, seed)
    return remove_labels(_asked(truth, crowd, design, difficulty, seed), missing_rate, missing, seed)


def _asked(
    truth: NDArray[np.integer], workers: Workers, design: Assignment, difficulty: float, seed: int
) -> CrowdLabels:
    """Draw the labels of any design, in time and memory linear in the number of annotations."""
    n_workers, n_classes = workers.transitions.shape[:2]
    asked = design.ask(len(truth), n_workers, make_key(seed, _ASSIGNMENT))
    source = np.arange(n_workers) if workers.source is None else workers.source
    upper = np.cumsum(workers.transitions, axis=2)
    upper /= upper[:, :, -1:]
    labels = _answers(asked, truth, source, upper, difficulty, make_key(seed, _LABELS), make_key(seed, _DIFFICULTY))
    return crowd_of_asked(asked, labels, n_workers, n_classes)


@njit(cache=True, nogil=True)
def _answers(
    asked: NDArray[np.int32],
    truth: NDArray[np.integer],
    source: NDArray[np.int64],
    upper: NDArray[np.float64],
    difficulty: float,
    key: np.uint64,
    difficulty_key: np.uint64,
) -> NDArray[np.int32]:
    """Return (n_items, n_labels) answers, drawn by inverting `upper`, the cumulative rows of the matrices."""
    labels = np.empty(asked.shape, np.int32)
    n_classes = upper.shape[1]
    for item in range(asked.shape[0]):
        true = truth[item]
        hardness = uniform(difficulty_key, np.uint64(item)) if difficulty > 0 else 0.0
        for place in range(asked.shape[1]):
            worker = int(source[asked[item, place]])
            row = upper[worker, true]
            below = float(row[true - 1]) if true > 0 else 0.0
            draw = uniform_of(key, worker, item)
            if difficulty > 0:
                draw = _as_hard(draw, below, float(row[true]), hardness, difficulty)
            label = np.searchsorted(row, draw, side="right")
            # Rounding can move a draw to the very end of the row, past the last class.
            while label == n_classes or (label > 0 and row[label] == row[label - 1]):
                label -= 1
            labels[item, place] = label
    return labels


@njit(cache=True, nogil=True)
def _as_hard(draw: float, below: float, upper: float, hardness: float, difficulty: float) -> float:
    """Move a draw within a cumulative row so that it fits an item that is harder or easier than average.

    The true class occupies [below, upper) of the row.  This interval is widened or narrowed to the probability of a
    right label on this item.  The other classes keep their proportions.
    """
    wrong = 1 - (upper - below)
    if wrong <= 0:
        return draw
    here = (1 - difficulty) * wrong + difficulty * hardness ** ((1 - wrong) / wrong)
    if draw < 1 - here:
        return below + (upper - below) * (draw / (1 - here))
    moved = (draw - (1 - here)) / here * wrong
    return moved if moved < below else moved + (upper - below)


def _every_item(
    truth: NDArray[np.integer], workers: Workers, missing_rate: float, missing: MissingRule, seed: int
) -> CrowdLabels:
    n_workers, n_classes = workers.transitions.shape[:2]
    streams = [np.random.default_rng([seed, worker]) for worker in range(n_workers)]
    drawn = [_draw(truth, matrix, stream) for matrix, stream in zip(workers.transitions, streams, strict=True)]
    labels = np.stack(drawn, axis=1)
    if workers.source is not None:
        labels = labels[:, workers.source]
    if missing_rate > 0:
        # Draw after the labels, from the same streams, so that the labels do not depend on the missing rate.
        chance = np.stack([stream.random(len(truth)) for stream in streams], axis=1)
        labels[_removed(chance, missing_rate, missing)] = -1
    return CrowdLabels.from_dense(labels, n_classes=n_classes)


def _draw(truth: NDArray[np.integer], matrix: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw (n_items,) one label per item, by inverting all cumulative rows in one sorted search."""
    n_classes = len(matrix)
    upper = np.cumsum(matrix, axis=1)
    upper /= upper[:, -1:]
    # Row t occupies [t, t + 1) of one increasing line, so that one search covers every true class.
    line = (upper + np.arange(n_classes)[:, None]).ravel()
    found = np.searchsorted(line, rng.random(len(truth)) + truth, side="right")
    label = found - truth * n_classes
    # Rounding at the end of a row can run past the last class that has a positive probability.
    last_possible = n_classes - 1 - (matrix[:, ::-1] > 0).argmax(axis=1)
    return np.minimum(label, last_possible[truth]).astype(np.int32)


def _removed(chance: NDArray[np.float64], rate: float, rule: MissingRule) -> NDArray[np.bool_]:
    """Return (n_items, n_workers) True where a label is missing, given one uniform draw per label."""
    if rule == "bernoulli":
        return chance < rate
    n_items, n_workers = chance.shape
    (number,) = n_removed(rate, np.array([n_workers]), rule)
    mask = np.zeros((n_items, n_workers), bool)
    if number:
        lowest = np.argpartition(chance, number - 1, axis=1)[:, :number]
        np.put_along_axis(mask, lowest, True, axis=1)
    return mask
