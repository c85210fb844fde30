from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.learning.learners.bootstrapping import Bootstrapping, hard_bootstrapping, soft_bootstrapping
from crowdml.learning.learners.nnaqc import Nnaqc
from crowdml.learning.learners.noise_layer import cross_entropy
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.loop import train
from crowdml.learning.supervision import supervise
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs(n_items=96)
GIVEN = supervise(DATA.train_labels, 3)
F = torch.tensor([[0.6, 0.3, 0.1]])


def test_the_soft_form_by_hand() -> None:
    # Label 1 trusted by 0.8: the target is (0.12, 0.86, 0.02).
    expected = -(0.12 * math.log(0.6) + 0.86 * math.log(0.3) + 0.02 * math.log(0.1))
    assert soft_bootstrapping(F.log(), torch.tensor([1]), trust=0.8).item() == pytest.approx(expected, rel=1e-6)


def test_the_hard_form_by_hand() -> None:
    # The most probable class is 0: the target is (0.2, 0.8, 0).
    expected = -(0.2 * math.log(0.6) + 0.8 * math.log(0.3))
    assert hard_bootstrapping(F.log(), torch.tensor([1]), trust=0.8).item() == pytest.approx(expected, rel=1e-6)


def test_the_expected_loss_under_a_distribution() -> None:
    posterior = torch.tensor([[0.5, 0.2, 0.3]])
    for loss in (soft_bootstrapping, hard_bootstrapping):
        by_label = torch.stack([loss(F.log(), torch.tensor([label]), trust=0.7) for label in range(3)])
        torch.testing.assert_close(loss(F.log(), posterior, trust=0.7), (posterior[0] * by_label).sum())


@given(st.integers(2, 5), st.floats(0, 1), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_classes_does_not_matter(n_classes: int, trust: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(4, n_classes)))
    labels = torch.from_numpy(rng.integers(n_classes, size=4))
    order = torch.from_numpy(rng.permutation(n_classes))
    for loss in (soft_bootstrapping, hard_bootstrapping):
        one = loss(logits.log_softmax(1), labels, trust=trust)
        other = loss(logits[:, order].log_softmax(1), torch.argsort(order)[labels], trust=trust)
        torch.testing.assert_close(one, other)


def test_full_trust_is_cross_entropy() -> None:
    log_class, labels = log_probabilities(torch.randn(6, 4)), torch.tensor([0, 1, 2, 3, 0, 1])
    for loss in (soft_bootstrapping, hard_bootstrapping):
        torch.testing.assert_close(loss(log_class, labels, trust=1.0), cross_entropy(log_class, labels))


def test_the_gradient_flows_through_the_target_unless_detached() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 3])
    assert torch.autograd.gradcheck(
        lambda logits: soft_bootstrapping(log_probabilities(logits), labels, trust=0.3), (logits,)
    )
    loss = soft_bootstrapping(log_probabilities(logits), labels, trust=0.3, detach=True)
    (gradient,) = torch.autograd.grad(loss, logits)
    # With the target held fixed the prediction pulls at nothing: what remains is 0.3 (f - y) of cross-entropy.
    f = logits.detach().softmax(dim=1)
    torch.testing.assert_close(gradient, 0.3 * (f - torch.eye(4).double()[labels]) / 3)


def test_nnaqc_without_its_noise_model_is_soft_bootstrapping_that_trusts_the_label_less() -> None:
    trained = [
        train(learner, make(DATA), GIVEN).model.state_dict()
        for learner in (Bootstrapping(trust=0.3), Nnaqc(alpha=0.0, beta=0.7))
    ]
    assert trained[0].keys() == trained[1].keys()
    for key, value in trained[0].items():
        torch.testing.assert_close(value, trained[1][key], rtol=1e-4, atol=1e-5)


def test_trust_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"trust must be in \[0, 1\], got -0.1"):
        Bootstrapping(trust=-0.1)
