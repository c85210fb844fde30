from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crowdml.learning.batch import Batch
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.learners.nnaqc import Nnaqc, WithNoiseModel
from crowdml.learning.loop import train
from crowdml.learning.supervision import supervise
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs(n_items=96)
GIVEN = supervise(DATA.train_labels, 3)


def loss_of(learner: Nnaqc, logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None) -> dict:
    """The terms for given logits, from a network that hands its inputs on."""
    n_classes = logits.shape[1]
    model: nn.Module = nn.Identity()
    if learner.alpha > 0:
        model = WithNoiseModel(model, n_classes, learner.kappa, learner.dropout).to(logits.dtype)
        if weight is not None:
            model.weight = nn.Parameter(weight)
    given = supervise(labels, n_classes)
    return learner.loss(model, Batch((logits,), torch.arange(len(logits)), given, 0, 1))


def test_the_two_terms_by_hand() -> None:
    # f = (3/4, 1/4); W f = (1.5, 0.5) for W = 2 I, whose softmax gives label 1 the probability 1 / (1 + e).
    logits, label = torch.tensor([[math.log(3), 0.0]]), torch.tensor([1])
    terms = loss_of(Nnaqc(alpha=0.7, beta=0.6, kappa=2.0), logits, label)
    assert terms["noise_model"].item() == pytest.approx(0.7 * math.log(1 + math.e), rel=1e-6)
    clustering = -(0.6 * 0.75 * math.log(0.75) + (0.6 * 0.25 + 0.4) * math.log(0.25))
    assert terms["quasi_clustering"].item() == pytest.approx(0.3 * clustering, rel=1e-6)


@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_alone_the_noise_model_is_the_crowd_layer_of_one_worker(n_classes: int, n_items: int, seed: int) -> None:
    # CrowdLayer (MW): the worker's labels are softmax(W_r softmax(t)); with one worker there is one W.
    rng = np.random.default_rng(seed)
    logits, weight = rng.normal(size=(n_items, n_classes)), rng.normal(size=(n_classes, n_classes))
    labels = rng.integers(n_classes, size=n_items)
    expected = 0.0
    for t, label in zip(logits, labels, strict=True):
        f = np.exp(t) / np.exp(t).sum()
        of_label = np.exp(weight @ f)
        expected -= math.log(of_label[label] / of_label.sum())
    terms = loss_of(Nnaqc(alpha=1.0), torch.from_numpy(logits), torch.from_numpy(labels), torch.from_numpy(weight))
    assert list(terms) == ["noise_model"]
    assert terms["noise_model"].item() == pytest.approx(expected / n_items, rel=1e-9)


def test_the_gradient_goes_through_the_denoising_operator() -> None:
    # d loss / d t = J(f)' W' (f' - y), where J(f) = diag(f) - f f' is the derivative of the first softmax.
    torch.manual_seed(0)
    t, weight = torch.randn(4, dtype=torch.float64, requires_grad=True), torch.randn(4, 4, dtype=torch.float64)
    terms = loss_of(Nnaqc(alpha=1.0), t[None], torch.tensor([2]), weight)
    (gradient,) = torch.autograd.grad(terms["noise_model"], t)
    f = t.detach().softmax(dim=0)
    residual = (weight @ f).softmax(dim=0) - torch.eye(4).double()[2]
    torch.testing.assert_close(gradient, (torch.diag(f) - torch.outer(f, f)) @ weight.T @ residual)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_gradients_in_double_precision(alpha: float) -> None:
    torch.manual_seed(1)
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 4, dtype=torch.float64)
    labels, learner = torch.tensor([0, 3, 1]), Nnaqc(alpha=alpha, beta=0.8)
    assert torch.autograd.gradcheck(lambda logits: tuple(loss_of(learner, logits, labels, weight).values()), (logits,))


def test_gradient_of_the_weight_in_double_precision() -> None:
    torch.manual_seed(2)
    model = WithNoiseModel(nn.Identity(), 3, 1.0, 0.0).double()
    f = torch.randn(4, 3).double().softmax(dim=1)

    def loss(weight: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(_LabelLogits(model), {"model.weight": weight}, (f,))
        return nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 1]))

    assert torch.autograd.gradcheck(loss, (torch.randn(3, 3, dtype=torch.float64, requires_grad=True),))


class _LabelLogits(nn.Module):
    def __init__(self, model: WithNoiseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, probabilities: torch.Tensor) -> torch.Tensor:
        return self.model.label_logits(probabilities)


def test_the_order_of_the_classes_does_not_matter() -> None:
    torch.manual_seed(3)
    logits, weight, labels = torch.randn(5, 4), torch.randn(4, 4), torch.tensor([0, 1, 2, 3, 3])
    order = torch.tensor([2, 0, 3, 1])
    one = loss_of(Nnaqc(), logits, labels, weight)
    other = loss_of(Nnaqc(), logits[:, order], torch.argsort(order)[labels], weight[order][:, order])
    for name, value in one.items():
        torch.testing.assert_close(value, other[name])


def test_dropout_leaves_out_inputs_of_the_noise_model_in_training_only() -> None:
    model = WithNoiseModel(nn.Identity(), 4, 1.0, 0.5)
    f = torch.full((200, 4), 0.25)
    torch.manual_seed(4)
    seen = model.label_logits(f)
    assert set(seen.unique().tolist()) == {0.0, 0.5}  # what is kept is doubled
    assert 0.4 < (seen == 0).float().mean() < 0.6
    assert torch.equal(model.eval().label_logits(f), f)


def test_dropout_of_nothing_is_the_noise_model_alone() -> None:
    # The networks, too, draw no dropout, so all draws are the same.
    first, second = (train(Nnaqc(alpha=1.0, dropout=rate), make(DATA), GIVEN).model for rate in (0.0, 1e-12))
    for key, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[key])


def test_the_prediction_is_that_of_the_network_before_the_noise_model() -> None:
    task = make(DATA)
    model = train(Nnaqc(), task, GIVEN).model
    assert isinstance(model, WithNoiseModel)
    assert torch.equal(predict_proba(model, task, task.inputs), predict_proba(model.network, task, task.inputs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.1}, r"alpha must be in \[0, 1\], got 1.1"),
        ({"beta": -1}, r"beta must be in \[0, 1\], got -1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"kappa": 0.0}, r"kappa must be above 0 and finite, got 0.0"),
        ({"target": "votes"}, "target must be"),
    ],
)
def test_options_out_of_range(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Nnaqc(**options)
