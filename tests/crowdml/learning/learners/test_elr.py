from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.evaluate import accuracies
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.elr import EarlyLearningRegularisation, Remembering, regulariser
from crowdml.learning.loop import train
from crowdml.learning.supervision import Supervision, supervise
from tests.crowdml.learning.tasks import Fixed, blobs, make

DATA = blobs(n_items=480)


def noisy(rate: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 3, len(DATA.train_labels))
    return np.where(rng.random(len(drawn)) < rate, drawn, DATA.train_labels)


def batch_of(items: list[int], given: Supervision) -> Batch:
    return Batch((torch.zeros(len(items), 1),), torch.tensor(items), given, 0, 1)


def test_two_steps_by_hand() -> None:
    learner, given = EarlyLearningRegularisation(beta=0.7, weight=3.0), supervise(np.array([0, 1]), 2)
    model = Remembering(Fixed([0.8, 0.2]), 2, 2)
    # t = .3 (.8, .2) = (.24, .06), <p, t> = .204; then t = .7 (.24, .06) + (.24, .06) = (.408, .102), <p, t> = .3468.
    for inner in (0.204, 0.3468):
        terms = learner.loss(model, batch_of([1], given))
        assert terms["cross_entropy"].item() == pytest.approx(-math.log(0.2), abs=1e-5)
        assert terms["early_learning"].item() == pytest.approx(3 * math.log(1 - inner), abs=1e-5)
    assert torch.allclose(model.average, torch.tensor([[0.0, 0.0], [0.408, 0.102]]), atol=1e-6)


def test_nothing_is_remembered_of_items_that_are_only_judged() -> None:
    model = Remembering(Fixed([0.8, 0.2]), 2, 2).eval()
    terms = EarlyLearningRegularisation().loss(model, batch_of([0, 1], supervise(np.array([0, 1]), 2)))
    assert not model.average.any()
    assert terms["early_learning"].item() == 0


def test_gradient_in_float64_and_by_the_papers_formula() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 4).double().requires_grad_()
    average = 0.9 * torch.rand(3, 4).double().softmax(dim=1)
    assert torch.autograd.gradcheck(lambda x: regulariser(x.softmax(dim=1), average), logits)
    # The gradient with respect to logit c is p_c / (1 - <p, t>) sum_k (t_k - t_c) p_k.
    p = logits.softmax(dim=1)
    (ours,) = torch.autograd.grad(regulariser(p, average).sum(), logits)
    p = p.detach()
    for item in range(3):
        for c in range(4):
            total = sum(float((average[item, k] - average[item, c]) * p[item, k]) for k in range(4))
            expected = float(p[item, c]) / (1 - float(p[item] @ average[item])) * total
            assert ours[item, c].item() == pytest.approx(expected, abs=1e-9)


def test_no_gradient_flows_through_the_average() -> None:
    network = nn.Linear(1, 2)
    model = Remembering(network, 1, 2)
    given = supervise(np.array([0]), 2)
    learner = EarlyLearningRegularisation(beta=0.0)
    batch = Batch((torch.ones(1, 1),), torch.tensor([0]), given, 0, 1)
    (ours,) = torch.autograd.grad(learner.loss(model, batch)["early_learning"], [network.weight])
    p = network(torch.ones(1, 1)).softmax(dim=1)
    (fixed,) = torch.autograd.grad(3 * regulariser(p, p.detach()).mean(), [network.weight])
    assert torch.allclose(ours, fixed, atol=1e-6)
    assert not model.average.requires_grad


def test_a_certain_network_has_a_finite_loss() -> None:
    model = Remembering(Fixed([1.0, 1e-38]), 1, 2)
    terms = EarlyLearningRegularisation(beta=0.0).loss(model, batch_of([0], supervise(np.array([0]), 2)))
    assert model.average[0, 0] > 0.999
    assert torch.isfinite(terms["early_learning"])


def test_without_weight_it_is_cross_entropy() -> None:
    task, given = make(DATA), supervise(noisy(), 3)
    ours = train(EarlyLearningRegularisation(weight=0.0), task, given).model
    plain = train(CrossEntropy(), task, given).model
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_averages_are_of_the_items_trained_on_and_sum_below_one() -> None:
    task, items = make(DATA, epochs=2), torch.arange(0, 240, 2)
    model = train(EarlyLearningRegularisation(), task, supervise(noisy(), 3), items=items).model
    assert isinstance(model, Remembering)
    # Two epochs: .3 of the first moved to .7 * .3 = .21, and .3 of the second.
    sums = model.average.sum(dim=1)
    assert torch.allclose(sums[items], torch.tensor(0.51))
    assert not sums[1::2].any()


@pytest.mark.parametrize("target", ["labels", "posterior"])
def test_it_beats_plain_cross_entropy_where_that_memorises(target: str) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))

    labels: Tensor = torch.eye(3)[torch.from_numpy(noisy())]
    task, given = make(DATA, network=network, epochs=30), supervise(labels, 3)
    plain = accuracies(train(CrossEntropy(), task, given).model, task)["test_accuracy"]
    learner = EarlyLearningRegularisation(target="posterior" if target == "posterior" else "labels")
    robust = accuracies(train(learner, task, given).model, task)["test_accuracy"]
    assert robust > 0.95
    assert robust > plain + 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 1.0}, r"beta must be in \[0, 1\), got 1.0"),
        ({"weight": -1.0}, "weight must not be negative, got -1.0"),
        ({"target": "votes"}, "target must be"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EarlyLearningRegularisation(**options)
