from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crowdml.aggregation.aggregator import vote_shares
from crowdml.aggregation.inference.confusion import estimate_confusion, infer_posterior
from crowdml.labels import CrowdLabels
from crowdml.learning.crowd.evidence import add_evidence, count_confusion, vote_confusion
from crowdml.learning.supervision import supervise
from tests.crowds import crowds


@given(crowds(), st.integers(0, 2**32 - 1))
def test_the_steps_are_those_of_the_aggregators(crowd: CrowdLabels, seed: int) -> None:
    rng = np.random.default_rng(seed)
    posterior = rng.dirichlet(np.ones(crowd.n_classes), size=crowd.n_items)
    part = supervise(posterior, crowd.n_classes, crowd=crowd).crowd.all()
    confusion = count_confusion(part, torch.from_numpy(posterior), crowd.n_workers, 0.3)
    expected = estimate_confusion(crowd, posterior, 0.3)
    assert np.allclose(confusion.numpy(), expected)
    prior = rng.dirichlet(np.ones(crowd.n_classes), size=crowd.n_items).clip(1e-6)
    inferred = add_evidence(torch.from_numpy(prior).log(), confusion.log(), part).exp().numpy()
    assert np.allclose(inferred, infer_posterior(crowd, expected, prior)[0])


def test_the_votes_confusion_by_hand() -> None:
    # Worker 0 says 0, 1 and worker 1 says 0, 0: the votes are certain of class 0, and split on the second item.
    crowd = CrowdLabels.from_dense([[0, 0], [1, 0]], n_classes=3)
    found = vote_confusion(supervise(vote_shares(crowd), 3, crowd=crowd))
    assert found[0].numpy() == pytest.approx(np.array([[1 / 1.5, 0.5 / 1.5, 0], [0, 1, 0], [0, 0, 0]]))
    assert found[1].numpy() == pytest.approx(np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0]]))


def test_weights_need_not_be_normalised() -> None:
    crowd = CrowdLabels.from_dense([[1]], n_classes=2)
    part = supervise(np.array([1]), 2, crowd=crowd).crowd.all()
    weights = torch.tensor([[[9.0, 1.0], [9.0, 3.0]]]).log()
    assert add_evidence(torch.zeros((1, 2)), weights, part).exp().tolist() == [pytest.approx([0.25, 0.75])]
