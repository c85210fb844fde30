from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given as for_all
from hypothesis import strategies as st
from torch import nn

from crowdml.learning.batch import Batch
from crowdml.learning.evaluate import accuracies
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.sce import SymmetricCrossEntropy, reverse_cross_entropy
from crowdml.learning.loop import train
from crowdml.learning.supervision import supervise
from tests.crowdml.learning.tasks import Fixed, blobs, make

DATA = blobs(n_items=480)


def noisy(rate: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 3, len(DATA.train_labels))
    return np.where(rng.random(len(drawn)) < rate, drawn, DATA.train_labels)


def test_both_terms_by_hand() -> None:
    # p = (.5, .3, .2), label 1: CE = -log .3, RCE = 6 (.5 + .2).
    batch = Batch((torch.zeros(1, 1),), torch.arange(1), supervise(np.array([1]), 3), 0, 1)
    terms = SymmetricCrossEntropy(alpha=0.1, beta=2.0, log_zero=-6.0).loss(Fixed([0.5, 0.3, 0.2]), batch)
    assert terms["cross_entropy"].item() == pytest.approx(-0.1 * math.log(0.3))
    assert terms["reverse_cross_entropy"].item() == pytest.approx(2 * 6 * 0.7)


@for_all(st.lists(st.floats(-9, 9), min_size=3, max_size=3), st.integers(0, 2), st.floats(-9, -1))
def test_reverse_cross_entropy_is_that_of_clipped_labels(logits: list[float], label: int, log_zero: float) -> None:
    p = torch.tensor([logits]).double().softmax(dim=1)
    clipped = torch.eye(3).double()[label].clamp_min(math.exp(log_zero))
    naive = -(p[0] * clipped.log()).sum().item()
    assert reverse_cross_entropy(p, torch.tensor([label]), log_zero).item() == pytest.approx(naive, abs=1e-9)


@for_all(st.lists(st.floats(-9, 9), min_size=3, max_size=3))
def test_over_all_labels_it_adds_up_to_a_constant(logits: list[float]) -> None:
    # Over all labels the loss adds up to a constant, -A (C - 1), so even noise does not move its minimum.
    p = torch.tensor([logits]).double().softmax(dim=1).expand(3, 3)
    assert reverse_cross_entropy(p, torch.arange(3), -4.0).sum().item() == pytest.approx(4 * 2)


def test_of_a_posterior_it_is_the_expected_loss() -> None:
    p = torch.tensor([[0.5, 0.3, 0.2]])
    each = reverse_cross_entropy(p.expand(3, 3), torch.arange(3), -4.0)
    weights = torch.tensor([[0.2, 0.7, 0.1]])
    assert reverse_cross_entropy(p, weights, -4.0).item() == pytest.approx((weights[0] @ each).item())


def test_gradient_in_float64() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(4, 3).double().requires_grad_(), torch.tensor([0, 2, 1, 1])
    assert torch.autograd.gradcheck(lambda x: reverse_cross_entropy(x.softmax(dim=1), target, -4.0), logits)


def test_without_the_reverse_it_is_cross_entropy() -> None:
    task, given = make(DATA), supervise(noisy(), 3)
    ours = train(SymmetricCrossEntropy(alpha=1.0, beta=0.0), task, given).model
    plain = train(CrossEntropy(), task, given).model
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_it_beats_plain_cross_entropy_where_that_memorises() -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))

    task, given = make(DATA, network=network, epochs=30), supervise(noisy(), 3)
    plain = accuracies(train(CrossEntropy(), task, given).model, task)["test_accuracy"]
    robust = accuracies(train(SymmetricCrossEntropy(), task, given).model, task)["test_accuracy"]
    assert robust > 0.95
    assert robust > plain + 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha must not be negative, got -1.0"),
        ({"beta": -0.5}, "beta must not be negative, got -0.5"),
        ({"alpha": 0.0, "beta": 0.0}, "must not both be 0"),
        ({"log_zero": 0.0}, "log_zero must be below 0, got 0.0"),
        ({"target": "votes"}, "target must be"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SymmetricCrossEntropy(**options)
