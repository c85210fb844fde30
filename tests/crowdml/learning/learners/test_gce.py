from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given as for_all
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from crowdml.learning.batch import Batch, Epoch
from crowdml.learning.evaluate import accuracies
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.gce import GeneralisedCrossEntropy, Pruned, generalised_cross_entropy
from crowdml.learning.loop import train
from crowdml.learning.supervision import supervise
from tests.crowdml.learning.tasks import Fixed, blobs, make

DATA = blobs(n_items=480)


def noisy(rate: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 3, len(DATA.train_labels))
    return np.where(rng.random(len(drawn)) < rate, drawn, DATA.train_labels)


def hidden_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))


def test_by_hand() -> None:
    # q = 1/2, p = .64: (1 - .8) / .5 = .4; p = .36: (1 - .6) / .5 = .8.
    log_class = torch.log(torch.tensor([[0.64, 0.36]]))
    assert generalised_cross_entropy(log_class, torch.tensor([0]), 0.5).item() == pytest.approx(0.4, abs=1e-6)
    soft = torch.tensor([[0.25, 0.75]])
    assert generalised_cross_entropy(log_class, soft, 0.5).item() == pytest.approx(0.25 * 0.4 + 0.75 * 0.8, abs=1e-6)


@for_all(st.lists(st.floats(-20, 20), min_size=4, max_size=4), st.integers(0, 3))
def test_between_cross_entropy_and_the_absolute_error(logits: list[float], label: int) -> None:
    log_class, target = torch.tensor([logits]).double().log_softmax(dim=1), torch.tensor([label])
    p = log_class[0, label].exp().item()
    assert generalised_cross_entropy(log_class, target, 1.0).item() == pytest.approx(1 - p, abs=1e-9)
    small = generalised_cross_entropy(log_class, target, 1e-9).item()
    assert small == pytest.approx(-log_class[0, label].item(), rel=1e-6, abs=1e-9)
    by_q = [generalised_cross_entropy(log_class, target, q).item() for q in (0.2, 0.5, 0.7, 1.0)]
    assert by_q == sorted(by_q, reverse=True)
    # Bounded, however wrong the label.
    assert by_q[2] <= 1 / 0.7


@pytest.mark.parametrize("soft", [False, True])
def test_gradient_in_float64(soft: bool) -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 3).double().requires_grad_()
    target = torch.rand(4, 3).double().softmax(1) if soft else torch.tensor([0, 2, 1, 1])
    assert torch.autograd.gradcheck(lambda x: generalised_cross_entropy(x.log_softmax(1), target, 0.7), logits)


def test_its_gradient_is_that_of_cross_entropy_weighed_by_a_power_of_p() -> None:
    # dL_q = p**q dCE for each item.
    torch.manual_seed(0)
    logits, target = torch.randn(1, 3).double().requires_grad_(), torch.tensor([1])
    log_class = logits.log_softmax(dim=1)
    (ours,) = torch.autograd.grad(generalised_cross_entropy(log_class, target, 0.7).sum(), logits, retain_graph=True)
    (plain,) = torch.autograd.grad(functional.nll_loss(log_class, target), logits)
    assert torch.allclose(ours, log_class[0, 1].exp() ** 0.7 * plain)


def test_what_is_left_out_costs_a_constant_and_teaches_nothing() -> None:
    learner, network = GeneralisedCrossEntropy(q=0.5, truncation=0.25), nn.Linear(1, 2)
    model = Pruned(network, 2)
    batch = Batch((torch.ones(2, 1),), torch.arange(2), supervise(np.array([0, 1]), 2), 0, 1)
    each = generalised_cross_entropy(network(torch.ones(2, 1)).log_softmax(dim=1), torch.arange(2), 0.5)
    assert torch.allclose(learner.loss(model, batch)["gce"], each.mean())
    model.kept[1] = False
    loss = learner.loss(model, batch)["gce"]
    # L_q(1/4) = (1 - 1/2) / (1/2) = 1.
    assert torch.allclose(loss, (each[0] + 1) / 2)
    (ours,) = torch.autograd.grad(loss, [network.weight])
    (of_first,) = torch.autograd.grad(each[0] / 2, [network.weight])
    assert torch.allclose(ours, of_first)


def test_items_are_left_out_when_due_by_the_networks_belief() -> None:
    learner = GeneralisedCrossEntropy(truncation=0.5, first_pruning=3, prune_every=2)
    task, given = make(DATA), supervise(np.arange(240) % 3, 3)
    model = Pruned(Fixed([0.6, 0.3, 0.1]), 240)
    items = torch.arange(120)
    for number in (0, 1, 2, 4):
        learner.begin_epoch(model, task, given, Epoch(number, 9, items))
        assert model.kept.all()
    for number in (3, 5):
        model.kept.fill_(True)
        learner.begin_epoch(model, task, given, Epoch(number, 9, items))
        # Only label 0 has more than one half; the others of the items trained on are left out.
        assert torch.equal(model.kept[:120], given.labels[:120] == 0)
        assert model.kept[120:].all()


def test_untruncated_there_is_the_plain_network() -> None:
    assert isinstance(GeneralisedCrossEntropy().build(make(DATA), supervise(noisy(), 3)), nn.Sequential)


@pytest.mark.parametrize("options", [{}, {"truncation": 0.3, "first_pruning": 10, "prune_every": 5}])
def test_it_beats_plain_cross_entropy_where_that_memorises(options: dict) -> None:
    task, given = make(DATA, network=hidden_network, epochs=30), supervise(noisy(), 3)
    plain = train(CrossEntropy(), task, given).model
    robust = train(GeneralisedCrossEntropy(**options), task, given).model
    accuracy = accuracies(robust, task)["test_accuracy"]
    assert accuracy > 0.95
    assert accuracy > accuracies(plain, task)["test_accuracy"] + 0.05


def test_a_certain_posterior_trains_as_its_labels() -> None:
    task, labels = make(DATA), noisy()
    hard = train(GeneralisedCrossEntropy(), task, supervise(labels, 3)).model
    soft = train(GeneralisedCrossEntropy(target="posterior"), task, supervise(np.eye(3)[labels], 3)).model
    for one, other in zip(hard.parameters(), soft.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_label_that_the_network_excludes_has_a_finite_gradient() -> None:
    logits = torch.tensor([[300.0, -300.0]], requires_grad=True)
    loss = generalised_cross_entropy(logits.log_softmax(dim=1), torch.tensor([1]), 0.7)
    loss.sum().backward()
    assert loss.item() == pytest.approx(1 / 0.7)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert math.isfinite(loss.item())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"q": 0.0}, r"q must be in \(0, 1\], got 0.0"),
        ({"truncation": 1.0}, r"truncation must be in \[0, 1\) or None, got 1.0"),
        ({"first_pruning": -1}, "first_pruning must not be negative, got -1"),
        ({"prune_every": 0}, "prune_every must be at least 1, got 0"),
        ({"target": "votes"}, "target must be"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GeneralisedCrossEntropy(**options)
