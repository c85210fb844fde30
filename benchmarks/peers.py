"""The methods that both crowdml and crowd-kit 1.4.2 have, and functions that fit either version, for the benchmarks."""

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
    """The result of a method: labels (n_items,), and the number of iterations."""

    labels: np.ndarray
    n_iter: int


@dataclass(frozen=True)
class Peer:
    """The version of a method in crowd-kit.

    Args:
        class_name: the class in crowdkit.aggregation.
        options: options that make our method the same variant as crowd-kit's method.
        same_iterations: our method runs for the number of iterations that crowd-kit needed, so that both stop at the
            same point of the same sequence.
        binary_only: whether the method accepts at most two classes.
    """

    class_name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    same_iterations: bool = False
    binary_only: bool = False


PEERS: dict[str, Peer] = {
    "mv": Peer("MajorityVote"),
    "wawa": Peer("Wawa"),
    "zero_based_skill": Peer("ZeroBasedSkill"),
    # crowd-kit does not smooth.
    "em": Peer("DawidSkene", {"smoothing": 0.0}, same_iterations=True),
    "one_coin": Peer("OneCoinDawidSkene", {"smoothing": 0.0}, same_iterations=True),
    "glad": Peer("GLAD"),
    "mace": Peer("MACE"),
    "kos": Peer("KOS", binary_only=True),
    "m_msr": Peer("MMSR"),
}


def run_ours(name: str, crowd: CrowdLabels, n_iter: int | None) -> Callable[[], Answer]:
    """Return a function that fits our method; `n_iter` is crowd-kit's number of iterations, or None if unknown."""
    peer = PEERS[name]
    rule = {"max_iter": n_iter, "tol": 0.0} if peer.same_iterations and n_iter else {}
    method = methods.resolve(name, {**peer.options, **rule}, labels_only=True).source

    def call() -> Answer:
        result = method.fit(crowd)
        return Answer(result.labels, result.n_iter)

    return call


def run_peer(name: str, crowd: CrowdLabels) -> Callable[[], Answer]:
    """Return a function that fits crowd-kit's method; the input frame is prepared in advance."""
    import crowdkit.aggregation  # pyright: ignore[reportMissingImports]

    frame = pd.DataFrame({"task": crowd.item, "worker": crowd.worker, "label": crowd.label})
    method = getattr(crowdkit.aggregation, PEERS[name].class_name)()

    def call() -> Answer:
        labels = method.fit_predict(frame)
        n_iter = len(getattr(method, "loss_history_", [])) or getattr(method, "n_iter", 1)
        return Answer(labels.reindex(range(crowd.n_items)).to_numpy(), n_iter)

    return call
