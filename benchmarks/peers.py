"""Methods of crowd-kit 1.4.2 beside ours: the pairs that the benchmarks compare, and how each side is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from crowdml import methods
from crowdml.labels import CrowdLabels


@dataclass(frozen=True)
class Answer:
    """What either side concluded: labels (n_items,), and the iterations it took."""

    labels: np.ndarray
    n_iter: int


@dataclass(frozen=True)
class Pair:
    """One method on both sides.

    Args:
        peer: class in crowdkit.aggregation.
        options: ours, where the peer has another variant of the method.
        same_iterations: give ours the number of iterations that the peer's own rule took, so that both stop at the
            same point of the same sequence.
        binary_only: the method has no more than two classes.
    """

    peer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    same_iterations: bool = False
    binary_only: bool = False


PAIRS: dict[str, Pair] = {
    "mv": Pair("MajorityVote"),
    "wawa": Pair("Wawa"),
    "zero_based_skill": Pair("ZeroBasedSkill"),
    # crowd-kit does not smooth.
    "em": Pair("DawidSkene", {"smoothing": 0.0}, same_iterations=True),
    "one_coin": Pair("OneCoinDawidSkene", {"smoothing": 0.0}, same_iterations=True),
    "glad": Pair("GLAD"),
    "mace": Pair("MACE"),
    "kos": Pair("KOS", binary_only=True),
    "m_msr": Pair("MMSR"),
}


def run_ours(name: str, crowd: CrowdLabels, n_iter: int | None) -> Callable[[], Answer]:
    """A call that fits our method; `n_iter` is the number of the peer's iterations, if they are to be the same."""
    pair = PAIRS[name]
    rule = {"max_iter": n_iter, "tol": 0.0} if pair.same_iterations and n_iter else {}
    method = methods.resolve(name, {**pair.options, **rule}, labels_only=True).source

    def call() -> Answer:
        result = method.fit(crowd)
        return Answer(result.labels, result.n_iter)

    return call


def run_peer(name: str, crowd: CrowdLabels) -> Callable[[], Answer]:
    """A call that fits crowd-kit's method; the frame is made before."""
    import crowdkit.aggregation  # pyright: ignore[reportMissingImports]

    frame = pd.DataFrame({"task": crowd.item, "worker": crowd.worker, "label": crowd.label})
    method = getattr(crowdkit.aggregation, PAIRS[name].peer)()

    def call() -> Answer:
        labels = method.fit_predict(frame)
        n_iter = len(getattr(method, "loss_history_", [])) or getattr(method, "n_iter", 1)
        return Answer(labels.reindex(range(crowd.n_items)).to_numpy(), n_iter)

    return call
