"""Draw the annotations of a simulated crowd."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crowdml.labels import CrowdLabels

MissingRule = Literal["floor", "round", "bernoulli"]
MISSING_RULES: tuple[str, ...] = get_args(MissingRule)


def simulate_crowd(
    truth: NDArray[np.integer],
    transitions: NDArray[np.float64],
    *,
    missing_rate: float = 0.0,
    missing: MissingRule = "floor",
    seed: int = 0,
) -> CrowdLabels:
    """Every worker labels every item, then some labels are removed.

    Each worker draws from a stream of its own, so the crowd of 3 workers is the first 3 workers of the crowd of 12
    (before labels are removed), and a higher missing rate removes what a lower one does, and more.

    Args:
        truth: (n_items,) true classes.
        transitions: (n_workers, n_classes, n_classes); [w, t] is worker w's label distribution for true class t.
        missing_rate: in [0, 1).
        missing: "floor" removes floor(missing_rate * n_workers) labels of each item, "round" the nearest whole
            number, "bernoulli" each label with that probability.
        seed: of all draws.

    Raises:
        ValueError: a rate out of range, an unknown rule, rows that do not sum to one, or nothing left.
    """
    n_workers, n_classes = transitions.shape[:2]
    if not 0 <= missing_rate < 1:
        raise ValueError(f"missing_rate must be in [0, 1), got {missing_rate}")
    if missing not in MISSING_RULES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_RULES)}, got {missing!r}")
    if not np.allclose(transitions.sum(axis=2), 1):
        raise ValueError("the rows of a transition matrix must sum to one")
    streams = [np.random.default_rng([seed, worker]) for worker in range(n_workers)]
    labels = np.stack(
        [_draw(truth, matrix, stream) for matrix, stream in zip(transitions, streams, strict=True)], axis=1
    )
    if missing_rate > 0:
        # Drawn from the same streams, after the labels, so the labels do not depend on the missing rate.
        chance = np.stack([stream.random(len(truth)) for stream in streams], axis=1)
        labels[_removed(chance, missing_rate, missing)] = -1
    return CrowdLabels.from_dense(labels, n_classes=n_classes)


def _draw(truth: NDArray[np.integer], matrix: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int32]:
    """(n_items,) one label an item by inverting the cumulative rows, all rows in one sorted search."""
    n_classes = len(matrix)
    upper = np.cumsum(matrix, axis=1)
    upper /= upper[:, -1:]
    # Row t occupies [t, t + 1) of one increasing line, so that one search serves every true class.
    line = (upper + np.arange(n_classes)[:, None]).ravel()
    found = np.searchsorted(line, rng.random(len(truth)) + truth, side="right")
    label = found - truth * n_classes
    # A draw within rounding of the end of its row would run past the last class that can occur.
    last_possible = n_classes - 1 - (matrix[:, ::-1] > 0).argmax(axis=1)
    return np.minimum(label, last_possible[truth]).astype(np.int32)


def _removed(chance: NDArray[np.float64], rate: float, rule: MissingRule) -> NDArray[np.bool_]:
    """(n_items, n_workers) which labels are missing, given one uniform draw for each label."""
    n_items, n_workers = chance.shape
    if rule == "bernoulli":
        return chance < rate
    # The tolerance keeps 0.29 * 100 = 28.999999999999996 from losing a label.
    n_removed = int(np.floor(rate * n_workers + (0.5 if rule == "round" else 0) + 1e-9))
    if n_removed >= n_workers:
        raise ValueError(f"missing_rate {rate} removes all {n_workers} labels of an item; use fewer, or more workers")
    mask = np.zeros((n_items, n_workers), bool)
    if n_removed:
        lowest = np.argpartition(chance, n_removed - 1, axis=1)[:, :n_removed]
        np.put_along_axis(mask, lowest, True, axis=1)
    return mask
