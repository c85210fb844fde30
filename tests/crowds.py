"""Small crowds for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from crowdml.aggregation import Aggregation, Aggregator
from crowdml.datasets import load_crowd
from crowdml.labels import CrowdLabels


@st.composite
def crowds(
    draw: st.DrawFn, *, max_items: int = 12, max_workers: int = 5, max_classes: int = 4, shared: bool = False
) -> CrowdLabels:
    """A crowd of any small size, some labels missing, at least one there; two on one item if `shared`."""
    n_items = draw(st.integers(1, max_items))
    n_workers = draw(st.integers(1 + shared, max_workers))
    n_classes = draw(st.integers(2, max_classes))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    dense = rng.integers(-1, n_classes, (n_items, n_workers))
    dense[rng.integers(n_items), rng.integers(n_workers)] = rng.integers(n_classes)
    if shared and (dense >= 0).sum(axis=1).max() < 2:
        dense[rng.integers(n_items), :2] = rng.integers(0, n_classes, 2)
    return CrowdLabels.from_dense(dense, n_classes=n_classes)


def simulated(
    n_items: int = 400, n_workers: int = 6, n_classes: int = 4, seed: int = 0
) -> tuple[CrowdLabels, np.ndarray]:
    """Workers of different quality on balanced items, and the truth."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n_items) % n_classes
    quality = np.linspace(0.3, 0.9, n_workers)
    right = rng.random((n_items, n_workers)) < quality
    wrong = (truth[:, None] + rng.integers(1, n_classes, (n_items, n_workers))) % n_classes
    return CrowdLabels.from_dense(np.where(right, truth[:, None], wrong), n_classes=n_classes), truth


def check_em(result: Aggregation) -> None:
    """The objective never falls, and posteriors and confusion matrices are distributions."""
    assert np.diff(result.objective).min(initial=0) > -1e-8
    assert np.allclose(result.posterior.sum(axis=1), 1)
    assert result.confusion is not None
    assert np.allclose(result.confusion.sum(axis=2), 1)


def check_permutations(method: Aggregator, crowd: CrowdLabels, seed: int) -> None:
    """Items, workers and classes in another order must give the answer in that order."""
    rng = np.random.default_rng(seed)
    classes, workers, items = (rng.permutation(n) for n in (crowd.n_classes, crowd.n_workers, crowd.n_items))
    dense = crowd.to_dense()
    renamed = np.where(dense >= 0, classes[dense], -1)[items][:, workers]
    ours = method.fit(crowd)
    theirs = method.fit(CrowdLabels.from_dense(renamed, n_classes=crowd.n_classes))
    assert theirs.posterior[:, classes] == pytest.approx(ours.posterior[items], abs=1e-6)
    assert ours.worker_quality is not None
    assert theirs.worker_quality is not None
    assert theirs.worker_quality == pytest.approx(ours.worker_quality[workers], abs=1e-6, nan_ok=True)


def real_crowd(root: Path, name: str) -> tuple[CrowdLabels, np.ndarray, np.ndarray]:
    """A crowd of real workers, its gold labels (0 where there is none), and which items have one."""
    data = load_crowd(name, root, download=False)
    return data.crowd, np.where(data.known, data.truth, 0), data.known
