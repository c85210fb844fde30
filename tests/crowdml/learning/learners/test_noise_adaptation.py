from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given as for_all
from hypothesis import strategies as st
from torch import Tensor, nn

from crowdml.datasets.data import ImageData
from crowdml.learning.batch import Batch
from crowdml.learning.evaluate import accuracies
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.noise_adaptation import (
    AdaptedByFeatures,
    AdaptedByMatrix,
    CModel,
    SModel,
    count_confusion,
    label_nll,
    largest,
)
from crowdml.learning.loop import train
from crowdml.learning.supervision import Supervision, supervise
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.tasks import Fixed, blobs, make

DATA = blobs(n_items=600)
MANY = blobs(n_items=2400)


def noisy(data: ImageData = DATA, rate: float = 0.4) -> np.ndarray:
    """A label becomes the next class with probability `rate`."""
    moved = np.random.default_rng(0).random(len(data.train_labels)) < rate
    return np.where(moved, (data.train_labels + 1) % 3, data.train_labels)


def hidden_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))


def batch_of(inputs: Tensor, given: Supervision) -> Batch:
    return Batch((inputs,), torch.arange(len(inputs)), given, 0, 1)


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]))


def test_the_probability_of_a_label_by_hand() -> None:
    # f = (.7, .3), theta = [[.9, .1], [.2, .8]]: P(label 0) = .63 + .06, P(label 1) = .07 + .24.
    log_class = torch.log(torch.tensor([[0.7, 0.3], [0.7, 0.3]]))
    log_theta = torch.log(torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
    expected = -(math.log(0.69) + math.log(0.31)) / 2
    assert label_nll(log_class, log_theta, torch.tensor([0, 1])).item() == pytest.approx(expected)
    soft = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    expected = -(0.25 * math.log(0.69) + 0.75 * math.log(0.31) + math.log(0.69)) / 2
    assert label_nll(log_class, log_theta, soft).item() == pytest.approx(expected)


@for_all(st.integers(0, 10_000), st.booleans())
def test_the_loss_is_that_of_plain_sums(seed: int, per_item: bool) -> None:
    f, theta = rows(5, 4, seed=seed), rows(*((5, 4, 4) if per_item else (4, 4)), seed=seed + 1)
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, 5))
    total = 0.0
    for item in range(5):
        matrix = theta[item] if per_item else theta
        total -= math.log(sum(float(f[item, i] * matrix[i, labels[item]]) for i in range(4)))
    assert label_nll(f.log(), theta.log(), labels).item() == pytest.approx(total / 5)
    certain = torch.eye(4, dtype=torch.float64)[labels]
    assert label_nll(f.log(), theta.log(), certain).item() == pytest.approx(total / 5)


@for_all(st.integers(0, 10_000))
def test_renaming_the_true_classes_changes_nothing(seed: int) -> None:
    f, theta, order = rows(6, 4, seed=seed).log(), rows(4, 4, seed=seed + 1).log(), torch.tensor([2, 0, 3, 1])
    labels = torch.arange(6) % 4
    assert torch.allclose(label_nll(f, theta, labels), label_nll(f[:, order], theta[order], labels))


def test_a_probability_that_vanishes_gives_a_finite_loss_and_gradient() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = label_nll(logits.log_softmax(dim=1), torch.log(torch.eye(2) + 1e-38), torch.tensor([1]))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("soft", [False, True])
def test_gradients_in_float64(soft: bool) -> None:
    torch.manual_seed(0)
    target = rows(3, 4) if soft else torch.tensor([0, 3, 3])
    logits, bias = torch.randn(3, 4).double().requires_grad_(), torch.randn(4, 4).double().requires_grad_()
    weight, hidden = torch.randn(16, 2).double().requires_grad_(), torch.randn(3, 2).double()

    def simple(logits: Tensor, bias: Tensor) -> Tensor:
        return label_nll(logits.log_softmax(1), bias.log_softmax(1), target)

    def complex_(logits: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        theta = (hidden @ weight.T).unflatten(1, (4, 4)) + bias
        return label_nll(logits.log_softmax(1), theta.log_softmax(2), target)

    assert torch.autograd.gradcheck(simple, (logits, bias))
    assert torch.autograd.gradcheck(complex_, (logits, weight, bias))


def test_confusion_by_hand_hard_and_soft() -> None:
    predicted = torch.tensor([[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.7, 0.3, 0.0]])
    labels = torch.eye(3)[[0, 0, 1, 1]]
    # Predicted 0: labels 0, 0, 1.  Predicted 1: label 1.  Nothing is predicted to be 2.
    expected = torch.tensor([[2 / 3, 1 / 3, 0], [0, 1, 0], [0, 0, 1]])
    assert torch.allclose(count_confusion(predicted, labels), expected)
    # Class 0 has .8 + .6 with label 0 and .1 + .7 with label 1.
    soft = count_confusion(predicted[:, :2], labels[:, :2], soft=True)
    assert torch.allclose(soft, torch.tensor([[1.4 / 2.2, 0.8 / 2.2], [0.6 / 1.8, 1.2 / 1.8]]))


def test_the_layer_starts_as_the_confusion() -> None:
    confusion = rows(3, 3).float()
    for model in (AdaptedByMatrix(hidden_network(), confusion), AdaptedByFeatures(hidden_network(), confusion)):
        _, log_theta = model.log_outputs(torch.rand(5, 1, 8, 8))
        assert torch.allclose(log_theta.exp(), confusion.expand_as(log_theta), atol=1e-5)


def test_a_network_taken_apart_gives_the_same_logits() -> None:
    network, inputs = hidden_network(), torch.rand(5, 1, 8, 8)
    expected = network(inputs)
    assert torch.equal(AdaptedByFeatures(network, torch.eye(3))(inputs), expected)


def test_the_complex_layer_follows_the_features() -> None:
    # One hidden feature h = 2 x: theta_0 = softmax(u h + b) with u = (1, 0), b = log(.5, .5) is (e^2, 1) / (e^2 + 1).
    double = nn.Linear(1, 1, bias=False)
    model = AdaptedByFeatures(nn.Sequential(double, nn.Linear(1, 2)), torch.full((2, 2), 0.5))
    with torch.no_grad():
        double.weight.fill_(2.0)
        model.weight[0, 0] = 1.0
    _, log_theta = model.log_outputs(torch.tensor([[1.0], [0.0]]))
    assert log_theta[0, 0, 0].exp().item() == pytest.approx(math.exp(2) / (math.exp(2) + 1), abs=1e-5)
    assert torch.allclose(log_theta[1].exp(), torch.full((2, 2), 0.5), atol=1e-5)


def test_forward_correction_is_the_s_model_with_a_frozen_matrix() -> None:
    class Forward(CrossEntropy):
        """Patrini et al.: -log (T' f)_label, with plain sums of probabilities."""

        def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            likely = model(batch.inputs).softmax(dim=1) @ transition
            return {"forward": -likely.gather(1, batch.labels[:, None]).log().mean()}

    transition = 0.6 * torch.eye(3) + 0.4 * torch.eye(3).roll(1, dims=1)
    given, task = supervise(noisy(), 3), make(DATA, network=hidden_network)
    torch.manual_seed(0)
    corrected, adapted = hidden_network(), AdaptedByMatrix(hidden_network(), transition)
    adapted.network.load_state_dict(corrected.state_dict())
    adapted.bias.requires_grad_(False)
    train(Forward(), task, given, model=corrected)
    train(SModel(), task, given, model=adapted)
    for one, other in zip(corrected.parameters(), adapted.network.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    assert not torch.equal(next(corrected.parameters()), next(hidden_network().parameters()))


def test_sparse_rows_learn_their_largest_entries_only() -> None:
    confusion = torch.tensor([[0.6, 0.3, 0.1], [0.0, 0.5, 0.5], [0.1, 0.2, 0.7]])
    kept = torch.tensor([[True, True, False], [False, True, True], [False, True, True]])
    assert torch.equal(largest(confusion, 2), kept)
    assert largest(confusion, 5).all()
    model = AdaptedByMatrix(hidden_network(), confusion, sparse=2)
    log_class, log_theta = model.log_outputs(torch.rand(4, 1, 8, 8))
    theta = log_theta.exp().detach()
    assert theta[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0], abs=1e-6)
    label_nll(log_class, log_theta, torch.tensor([0, 1, 2, 0])).backward()
    assert model.bias.grad is not None
    assert (model.bias.grad[~kept] == 0).all()
    assert (model.bias.grad[kept] != 0).all()
    # A label that no row keeps is improbable, not impossible.
    lonely = AdaptedByMatrix(hidden_network(), torch.tensor([[0.8, 0.1, 0.1]] * 3), sparse=1)
    assert torch.isfinite(label_nll(*lonely.log_outputs(torch.rand(1, 1, 8, 8)), torch.tensor([2])))


def test_beta_weighs_the_networks_own_output() -> None:
    model = AdaptedByMatrix(Fixed([0.7, 0.3]), torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
    batch = batch_of(torch.zeros(1, 1), supervise(np.array([1]), 2))
    assert list(SModel().loss(model, batch)) == ["adapted"]
    terms = SModel(beta=0.25).loss(model, batch)
    assert terms["adapted"].item() == pytest.approx(-0.75 * math.log(0.31), abs=1e-5)
    assert terms["network"].item() == pytest.approx(-0.25 * math.log(0.3), abs=1e-5)


def test_weight_decay_leaves_the_layer_alone() -> None:
    task = make(DATA, network=hidden_network, weight_decay=0.1)
    for learner in (SModel(), CModel()):
        model = learner.build(task, supervise(noisy(), 3))
        network, layer = learner.parameter_groups(model, task.settings.recipe)
        assert "weight_decay" not in network
        assert layer["weight_decay"] == 0
        assert sum(len(group["params"]) for group in (network, layer)) == len(list(model.parameters()))


def learned(learner: SModel | CrossEntropy) -> tuple[nn.Module, Trainer]:
    trainer = Trainer(make(MANY, network=hidden_network, epochs=6, lr=0.01, batch_size=32))
    return trainer.learn(learner, supervise(noisy(MANY, 0.45), 3)), trainer


@pytest.mark.parametrize(("learner", "n_trainings"), [(SModel(), 2), (CModel(), 3), (CModel(sparse=2), 3)])
def test_the_stages_find_the_noise_and_beat_plain_cross_entropy(learner: SModel, n_trainings: int) -> None:
    model, trainer = learned(learner)
    assert trainer.n_trainings == n_trainings
    assert isinstance(model, AdaptedByMatrix | AdaptedByFeatures)
    _, log_theta = model.eval().log_outputs(next(trainer.task.inputs.batches([torch.arange(60)]))[0])
    theta = log_theta.exp() if log_theta.ndim == 2 else log_theta.exp().mean(dim=0)
    assert (theta - (0.55 * torch.eye(3) + 0.45 * torch.eye(3).roll(1, dims=1))).abs().max() < 0.12
    assert accuracies(model, trainer.task)["test_accuracy"] > 0.98
    plain, trainer = learned(CrossEntropy())
    assert accuracies(plain, trainer.task)["test_accuracy"] < 0.95


@pytest.mark.parametrize("learner", [SModel(target="posterior"), CModel(target="posterior", pretrain_soft=True)])
def test_certain_posteriors_train_as_labels(learner: SModel) -> None:
    task, labels = make(DATA, network=hidden_network), noisy()
    soft = Trainer(task).learn(learner, supervise(np.eye(3)[labels], 3))
    hard = Trainer(task).learn(type(learner)(pretrain_soft=learner.pretrain_soft), supervise(labels, 3))
    for one, other in zip(soft.parameters(), hard.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_a_model_of_an_earlier_learning_is_trained_on_in_one_stage() -> None:
    task, given = make(DATA, network=hidden_network), supervise(noisy(), 3)
    first = Trainer(task).learn(CModel(), given)
    trainer = Trainer(task)
    assert trainer.learn(CModel(), given, model=first, items=torch.arange(90)) is first
    assert trainer.n_trainings == 1
    assert trainer.n_images == 3 * 90


def test_only_the_named_items_are_learned_from_and_counted() -> None:
    labels, items = noisy(), torch.arange(0, 150)
    changed = labels.copy()
    changed[150:] = 0
    models = [
        Trainer(make(DATA, network=hidden_network)).learn(SModel(), supervise(each, 3), items=items)
        for each in (labels, changed)
    ]
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_network_without_a_last_linear_layer_is_refused() -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Tanh())

    with pytest.raises(ValueError, match="needs a network that ends in a linear layer"):
        CModel().build(make(DATA, network=network), supervise(noisy(), 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 1.0}, r"beta must be in \[0, 1\), got 1.0"),
        ({"sparse": 0}, "sparse must be at least 1 or None, got 0"),
        ({"target": "votes"}, "target must be"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    for learner in (SModel, CModel):
        with pytest.raises(ValueError, match=message):
            learner(**options)
