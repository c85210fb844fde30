from __future__ import annotations

from math import log
from typing import cast, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.learning.crowd.max_mig import ClassPrior, MaxMig, gain
from tests.crowdml.learning.crowd.cases import (
    accuracy_and_error,
    given_of,
    predicting,
    random_labels,
    random_probabilities,
)


def test_the_gain_by_hand() -> None:
    # R_ij = 2 sum_c f_c(i) g_c(j) under an even prior.
    f, g = torch.tensor([[0.9, 0.1], [0.3, 0.7]]), torch.tensor([[0.8, 0.2], [0.4, 0.6]])
    same = [2 * (0.9 * 0.8 + 0.1 * 0.2), 2 * (0.3 * 0.4 + 0.7 * 0.6)]
    other = [2 * (0.9 * 0.4 + 0.1 * 0.6), 2 * (0.3 * 0.8 + 0.7 * 0.2)]
    one_item, two_items = gain(f.log(), g.log(), torch.tensor([0.5, 0.5]).log())
    assert float(one_item) == pytest.approx(1 + (log(same[0]) + log(same[1])) / 2)
    assert float(two_items) == pytest.approx((other[0] + other[1]) / 2)


@given(st.integers(2, 8), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_the_gain_is_that_of_a_loop_over_pairs(n_items: int, n_classes: int, seed: int) -> None:
    f, g = random_probabilities(n_items, n_classes, seed), random_probabilities(n_items, n_classes, seed + 1)
    p = random_probabilities(1, n_classes, seed + 2)[0]
    ratio = np.array([[float((f[i] * g[j] / p).sum()) for j in range(n_items)] for i in range(n_items)])
    one_item, two_items = gain(f.log(), g.log(), p.log())
    assert float(one_item) == pytest.approx(1 + np.log(np.diag(ratio)).mean(), rel=1e-6, abs=1e-9)
    assert float(two_items) == pytest.approx(ratio[~np.eye(n_items, dtype=bool)].mean(), rel=1e-6)


def test_the_gain_is_highest_where_both_know_the_class_and_zero_where_one_knows_nothing() -> None:
    # Two even classes share log 2 of information; the mean over pairs of unlike items tends to it as they grow many.
    sure = torch.eye(2, dtype=torch.float64).repeat(500, 1).clamp_min(1e-12).log()
    even = torch.full((1000, 2), 0.5, dtype=torch.float64).log()
    prior = even[0]
    best = gain(sure, sure, prior)
    nothing = gain(sure, even, prior)
    assert float(best[0] - best[1]) == pytest.approx(log(2), abs=2e-3)
    assert float(nothing[0] - nothing[1]) == pytest.approx(0, abs=1e-9)


def test_the_gradient() -> None:
    # Logits of f and of g, and the class prior's, in double precision.
    logits, other = (random_probabilities(4, 3, seed).log().requires_grad_() for seed in (0, 1))
    prior = torch.tensor([0.1, 0.4, -0.2], dtype=torch.float64, requires_grad=True)

    def loss(logits: torch.Tensor, other: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
        parts = gain(logits.log_softmax(1), other.log_softmax(1), prior.log_softmax(0))
        return parts[1] - parts[0]

    assert torch.autograd.gradcheck(loss, (logits, other, prior))


def test_the_loss_by_hand() -> None:
    # Both items have one label of the one worker; the third has none, and R = 1 with everything that is normalised.
    supervision = given_of([[0], [1], [-1]], 2)
    f = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]], dtype=torch.float64)
    model, batch = predicting(MaxMig(class_prior="uniform"), supervision, f)
    # The votes have the worker always right: W = log(1.01) on the diagonal and log(0.01) off it.
    right, wrong = 1.01 / 1.02, 0.01 / 1.02
    g = np.array([[right, wrong], [wrong, right], [0.5, 0.5]])
    ratio = 2 * f.numpy() @ g.T
    terms = {name: term.detach() for name, term in MaxMig().loss(model, batch).items()}
    assert float(terms["one_item"]) == pytest.approx(-1 - np.log(np.diag(ratio)).mean(), rel=1e-6)
    assert float(terms["two_items"]) == pytest.approx(ratio[~np.eye(3, dtype=bool)].mean(), rel=1e-6)


def test_the_class_prior_is_the_one_asked_for() -> None:
    supervision = given_of([[0], [0], [0], [1]], 3)
    probabilities = random_probabilities(4, 3, 0)
    priors, learned = {}, {}
    for name in get_args(ClassPrior):
        model, _ = predicting(MaxMig(class_prior=name), supervision, probabilities)
        log_prior = cast(torch.nn.Parameter, model.log_prior)
        priors[name], learned[name] = log_prior.softmax(0).tolist(), log_prior.requires_grad
    assert priors["uniform"] == pytest.approx([1 / 3] * 3)
    # No class is ruled out: one that nobody named has the weight of one item before the four are normalised.
    assert priors["majority"][0] == pytest.approx(3 * priors["majority"][1])
    assert 0 < priors["majority"][2] <= priors["majority"][1]
    assert learned == {"majority": False, "uniform": False, "learned": True}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_classes_and_workers_in_another_order_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, workers = rng.permutation(3), rng.permutation(4)
    dense, f = random_labels(6, 4, 3, seed), random_probabilities(6, 3, seed)
    dense[0] = 0
    renamed = np.where(dense >= 0, classes[dense], -1)[:, workers]
    model, batch = predicting(MaxMig(), given_of(dense, 3), f)
    permuted, permuted_batch = predicting(MaxMig(), given_of(renamed, 3), f[:, np.argsort(classes)])
    ours, theirs = MaxMig().loss(model, batch), MaxMig().loss(permuted, permuted_batch)
    for name, term in ours.items():
        assert float(term.detach()) == pytest.approx(float(theirs[name].detach()), rel=1e-5)
    confusion = MaxMig().confusion(permuted)[:, classes][:, :, classes]
    assert torch.allclose(confusion, MaxMig().confusion(model)[workers], atol=1e-6)
    assert torch.allclose(confusion.sum(dim=2), torch.ones(4, 3, dtype=torch.float64))


def test_it_finds_the_labels_that_the_majority_misses() -> None:
    right, distance = accuracy_and_error(MaxMig(), epochs=10)
    assert right > 0.97
    assert distance < 0.2


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match='class_prior must be one of "majority", "uniform", "learned", got \'none\''):
        MaxMig(class_prior="none")  # pyright: ignore[reportArgumentType]
