from __future__ import annotations

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crowdml.learning.crowd.doctor_net import Averaging, DoctorNet, average, others
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.inputs import InMemory
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.crowd.cases import (
    DATA,
    accuracy_and_error,
    batch_of,
    given_of,
    hard_crowd,
    random_labels,
    random_probabilities,
    task_of,
)


def wide() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4))


def weights_of(model: nn.Module, *parts: str) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for name, value in model.state_dict().items() if name.startswith(parts)])


def test_the_average_by_hand() -> None:
    says = torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]])
    weights = torch.tensor([[log(3), log(1), -torch.inf]])
    assert average(says.log(), weights).exp().tolist() == [
        pytest.approx([0.75 * 0.9 + 0.25 * 0.2, 0.75 * 0.1 + 0.25 * 0.8])
    ]


def test_the_others_by_hand() -> None:
    # Worker 3 never labelled anything.  Nobody is left of those who did for the first item: all of them speak.
    supervision = given_of([[0, 1, 0, -1], [-1, 1, -1, -1], [-1, -1, -1, -1]], 2)
    seen = torch.tensor([True, True, True, False])
    assert others(supervision.crowd.all(), 3, seen).tolist() == [
        [True, True, True, False],
        [True, False, True, False],
        [True, True, True, False],
    ]


def test_the_first_loss_is_that_of_each_workers_classifier() -> None:
    # One feature, x; worker w says class 1 with the logit a_w x + b_w.
    task = replace(task_of(), build_network=lambda: nn.Sequential(nn.Linear(1, 2)), n_classes=2)
    supervision, learner = given_of([[0, 1], [1, -1]], 2), DoctorNet()
    model = learner.build(task, supervision)
    with torch.no_grad():
        model.get_parameter("classifiers.weight").copy_(torch.tensor([[0.0], [2.0], [0.0], [-1.0]]))
        model.get_parameter("classifiers.bias").copy_(torch.tensor([0.0, 0.5, 0.0, 1.0]))
    losses = [log(1 + exp(2 * 3 + 0.5)), log(1 + exp(-(-3 + 1))), log(1 + exp(-(2 * -1 + 0.5)))]
    loss = learner.loss(model, batch_of(supervision, torch.tensor([[3.0], [-1.0]])))["annotations"]
    assert float(loss.detach()) == pytest.approx(sum(losses) / 3)


def test_the_second_loss_leaves_out_who_labelled_the_item() -> None:
    # Three workers who say class 1 with 0.1, 0.6 and 0.8 whatever the item; the first item has labels 1 of worker 0,
    # the second 0 and 1 of workers 0 and 1, the third none.
    task = replace(task_of(), build_network=lambda: nn.Sequential(nn.Linear(1, 2)), n_classes=2)
    supervision = given_of([[1, -1, -1], [0, 1, -1], [-1, -1, -1], [-1, -1, 0]], 2)
    learner = DoctorNet()
    model = learner.build(task, supervision)
    with torch.no_grad():
        model.get_parameter("classifiers.weight").zero_()
        says = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
        model.get_parameter("classifiers.bias").copy_(says.log().flatten())
        model.get_parameter("weights.bias").copy_(torch.tensor([5.0, log(3), 0.0]))
    second = _second_learner(learner, task, supervision)
    loss = second.loss(model, batch_of(supervision, torch.ones((3, 1))))["average"]
    first_item = -log(0.75 * 0.6 + 0.25 * 0.8)
    second_item = -(log(0.2) + log(0.8)) / 2
    assert float(loss.detach()) == pytest.approx((first_item + second_item) / 2, rel=1e-6)


class _Recording(Trainer):
    """A trainer that keeps what it is asked to train, and trains nothing."""

    def __init__(self, task) -> None:
        super().__init__(task)
        self.learners, self.recipes = [], []

    def train(self, learner, given, *, model=None, items=None, evaluate=True, recipe=None) -> nn.Module:
        self.learners.append(learner)
        self.recipes.append(recipe)
        return learner.build(self.task, given) if model is None else model


def _second_learner(learner: DoctorNet, task, supervision):
    trainer = _Recording(replace(task, inputs=InMemory(torch.ones((4, 1)), torch.ones(1), torch.zeros(1))))
    trainer.learn(learner, supervision)
    assert [recipe.epochs for recipe in trainer.recipes if recipe is not None] == [learner.averaging_epochs]
    return trainer.learners[1]


def test_the_gradient() -> None:
    logits = random_probabilities(12, 3, 0).log().reshape(4, 3, 3).requires_grad_()
    weights = random_probabilities(4, 3, 1).log().requires_grad_()
    assert torch.autograd.gradcheck(lambda *parts: average(parts[0].log_softmax(2), parts[1]), (logits, weights))


@pytest.mark.parametrize(("averaging", "moved"), [("equal", ()), ("workers", ("bias",)), ("items", ("bias", "weight"))])
def test_the_second_training_moves_nothing_but_the_weights(averaging: Averaging, moved: tuple[str, ...]) -> None:
    # With one epoch more or less of it, classifiers, features and the statistics of the batches are the same.
    dense = np.where(np.random.default_rng(0).random((240, 5)) < 0.5, hard_crowd()[0].to_dense(), -1)
    supervision, task = given_of(dense, 4), replace(task_of(epochs=1, batch_size=80), build_network=wide)
    short, long = (
        Trainer(task).learn(DoctorNet(averaging=averaging, averaging_epochs=epochs), supervision) for epochs in (1, 2)
    )
    assert torch.equal(weights_of(short, "features", "classifiers"), weights_of(long, "features", "classifiers"))
    for name in ("bias", "weight"):
        same = torch.equal(weights_of(short, f"weights.{name}"), weights_of(long, f"weights.{name}"))
        assert same is (name not in moved)


def test_the_prediction_is_the_average_and_workers_without_labels_have_no_part() -> None:
    dense = random_labels(240, 3, 4, 0)
    dense[:, 1] = -1
    model = Trainer(task_of(epochs=1)).learn(DoctorNet(averaging="equal"), given_of(dense, 4))
    task = task_of()
    (inputs,) = next(iter(task.inputs.batches([torch.arange(7)])))
    with torch.no_grad():
        features = model.get_submodule("features")(inputs)
        says = model.get_submodule("classifiers")(features).reshape(7, 3, 4).softmax(dim=2)
    assert torch.allclose(predict_proba(model, task, task.inputs)[:7], says[:, [0, 2]].mean(dim=1), atol=1e-6)


def test_the_confusion_is_what_the_classifiers_say_of_each_predicted_class() -> None:
    crowd, _ = hard_crowd()
    trainer = Trainer(task_of(epochs=2))
    learner, items = DoctorNet(averaging_epochs=2), torch.arange(100)
    model = trainer.learn(learner, given_of(crowd.to_dense(), 4), items=items)
    (inputs,) = next(iter(trainer.task.inputs.batches([items])))
    model.eval()
    with torch.no_grad():
        f = model(inputs).softmax(dim=1).numpy()
        says = model.get_submodule("classifiers")(model.get_submodule("features")(inputs)).reshape(100, 5, 4)
        says = says.softmax(dim=2).numpy()
    expected = np.array([[sum(f[i, c] * says[i, w] for i in range(100)) for c in range(4)] for w in range(5)])
    found = learner.confusion(model).numpy()
    assert found == pytest.approx(expected / expected.sum(axis=2, keepdims=True), rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_workers_and_classes_in_another_order_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, workers = rng.permutation(3), rng.permutation(4)
    says = torch.from_numpy(rng.dirichlet(np.ones(3), size=(5, 4))).log()
    weights = torch.from_numpy(rng.normal(size=(5, 4)))
    ours = average(says, weights)
    assert torch.allclose(average(says[:, workers][:, :, classes], weights[:, workers]), ours[:, classes])
    assert torch.allclose(ours.exp().sum(dim=1), torch.ones(5, dtype=torch.float64))


def test_it_finds_more_labels_than_the_majority() -> None:
    crowd, _ = hard_crowd()
    vote = float((crowd.votes.argmax(axis=1) == DATA.train_labels).mean())
    right, _ = accuracy_and_error(DoctorNet(averaging_epochs=2), epochs=8)
    assert right > vote + 0.1


def test_a_worker_whose_classifier_knows_nothing_loses_weight() -> None:
    # Three workers are right; the fourth says anything, of few items.  Each item has one label, and three others.
    rng = np.random.default_rng(0)
    truth = DATA.train_labels
    dense = np.stack([truth, truth, truth, rng.integers(4, size=len(truth))], axis=1)
    who = rng.choice(4, p=[0.32, 0.32, 0.32, 0.04], size=len(truth))
    dense[who[:, None] != np.arange(4)] = -1
    learner = DoctorNet(averaging_epochs=10)
    model = Trainer(task_of(epochs=5)).learn(learner, given_of(dense, 4))
    assert float(model.get_parameter("weights.bias").detach().softmax(dim=0)[3]) < 0.15


def test_going_on_from_a_model_trains_the_classifiers_again() -> None:
    crowd, _ = hard_crowd()
    supervision, learner = given_of(crowd.to_dense(), 4), DoctorNet(averaging_epochs=1)
    model = Trainer(task_of(epochs=1)).learn(learner, supervision)
    before = weights_of(model, "classifiers").clone()
    Trainer(task_of(epochs=1)).learn(learner, supervision, model=model)
    assert not torch.equal(weights_of(model, "classifiers"), before)


def test_a_network_that_does_not_end_in_a_linear_layer_is_refused() -> None:
    task = replace(task_of(), build_network=lambda: nn.Sequential(nn.Linear(64, 4), nn.Softmax(dim=1)))
    with pytest.raises(ValueError, match="needs a network that ends in a linear layer"):
        DoctorNet().build(task, given_of([[0]], 4))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"averaging": "some"}, "averaging must be"),
        ({"averaging_epochs": 0}, "averaging_epochs must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DoctorNet(**wrong)
