from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given as for_all
from hypothesis import strategies as st
from torch import Tensor, nn

from crowdml.learning.evaluate import accuracies
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.noise_adaptation_em import SModelEm, em_step
from crowdml.learning.supervision import supervise
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs(n_items=2400)


def noisy(rate: float = 0.45) -> np.ndarray:
    moved = np.random.default_rng(0).random(len(DATA.train_labels)) < rate
    return np.where(moved, (DATA.train_labels + 1) % 3, DATA.train_labels)


def hidden_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))


def trainer_of(**recipe: int) -> Trainer:
    return Trainer(make(DATA, network=hidden_network, **{"epochs": 6, "lr": 0.01, "batch_size": 32, **recipe}))


def rows(*shape: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]))


def test_one_step_by_hand() -> None:
    # Item 0: f = (.6, .4), label 0: (.6 * .9, .4 * .3) = (.54, .12), c = (9/11, 2/11).
    # Item 1: f = (.5, .5), label 1: (.5 * .1, .5 * .7) = (.05, .35), c = (1/8, 7/8).
    f = torch.tensor([[0.6, 0.4], [0.5, 0.5]])
    theta = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    classes, updated = em_step(f, theta, torch.eye(2))
    assert torch.allclose(classes, torch.tensor([[9 / 11, 2 / 11], [1 / 8, 7 / 8]]), atol=1e-6)
    first, second = 9 / 11 + 1 / 8, 2 / 11 + 7 / 8
    expected = [[9 / 11 / first, 1 / 8 / first], [2 / 11 / second, 7 / 8 / second]]
    assert torch.allclose(updated, torch.tensor(expected), atol=1e-6)


@for_all(st.integers(0, 10_000))
def test_a_step_is_that_of_plain_loops(seed: int) -> None:
    f, theta, labels = rows(6, 3, seed=seed), rows(3, 3, seed=seed + 1), rows(6, 3, seed=seed + 2)
    joint = torch.zeros(6, 3, 3, dtype=torch.float64)
    for t in range(6):
        for j in range(3):
            likely = torch.stack([f[t, i] * theta[i, j] for i in range(3)])
            joint[t, :, j] = labels[t, j] * likely / likely.sum()
    classes, updated = em_step(f, theta, labels)
    assert torch.allclose(classes.double(), joint.sum(dim=2), atol=1e-5)
    counts = joint.sum(dim=0)
    assert torch.allclose(updated.double(), counts / counts.sum(dim=1, keepdim=True), atol=1e-5)
    assert torch.allclose(classes.sum(dim=1), torch.ones(6))
    some, of_some = torch.tensor([1, 4]), joint[[1, 4]].sum(dim=0)
    _, updated = em_step(f, theta, labels, some)
    assert torch.allclose(updated.double(), of_some / of_some.sum(dim=1, keepdim=True), atol=1e-5)


@for_all(st.integers(0, 10_000), st.booleans())
def test_the_likelihood_never_falls_where_f_is_a_free_table(seed: int, soft: bool) -> None:
    # Ten kinds of inputs: the best f of a kind is the mean of its items' inferred classes.
    rng = np.random.default_rng(seed)
    kind = torch.from_numpy(rng.integers(0, 10, 60))
    labels = rows(60, 3, seed=seed) if soft else torch.eye(3).double()[torch.from_numpy(rng.integers(0, 3, 60))]
    table, theta = rows(10, 3, seed=seed + 1), rows(3, 3, seed=seed + 2)
    before = -math.inf
    for _ in range(8):
        now = float((labels * (table[kind] @ theta).log()).sum())
        assert now >= before - 1e-4
        before = now
        classes, updated = em_step(table[kind], theta, labels)
        counts = torch.zeros(10, 3).index_add_(0, kind, classes).double()
        table = torch.where(counts.sum(1, keepdim=True) > 0, counts / counts.sum(1, keepdim=True).clamp_min(1), table)
        theta = updated.double()


@for_all(st.integers(0, 10_000))
def test_renaming_classes_renames_the_answer(seed: int) -> None:
    f, theta, labels = rows(6, 4, seed=seed), rows(4, 4, seed=seed + 1), rows(6, 4, seed=seed + 2)
    true, said = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 3, 2, 0])
    classes, updated = em_step(f, theta, labels)
    renamed_classes, renamed = em_step(f[:, true], theta[true][:, said], labels[:, said])
    assert torch.allclose(renamed_classes, classes[:, true], atol=1e-6)
    assert torch.allclose(renamed, updated[true][:, said], atol=1e-6)


def test_what_seems_impossible_stays_finite() -> None:
    # The network and theta agree that label 1 cannot be; class 1 has no item.
    classes, updated = em_step(torch.tensor([[1.0, 0.0]]), torch.eye(2), torch.tensor([[0.0, 1.0]]))
    assert classes.tolist() == [[1.0, 0.0]]
    assert updated.tolist()[0] == [0.0, 1.0]
    assert torch.allclose(updated[1], torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("reinit", [False, True])
def test_it_beats_plain_cross_entropy(reinit: bool) -> None:
    trainer = trainer_of()
    given = supervise(noisy(), 3)
    model = trainer.learn(SModelEm(max_iter=3, reinit=reinit), given)
    assert trainer.n_trainings == 4
    assert accuracies(model, trainer.task)["test_accuracy"] > 0.98
    plain = trainer_of().learn(CrossEntropy(), given)
    assert accuracies(plain, trainer.task)["test_accuracy"] < 0.95


def test_it_stops_when_theta_stands_still() -> None:
    trainer = trainer_of(epochs=1)
    trainer.learn(SModelEm(max_iter=9, tolerance=1.0), supervise(noisy(), 3))
    assert trainer.n_trainings == 2


def test_a_network_of_an_earlier_learning_takes_the_baselines_place() -> None:
    trainer, given = trainer_of(epochs=1), supervise(noisy(), 3)
    start = trainer.task.build_network()
    items = torch.arange(300)
    model = trainer.learn(SModelEm(max_iter=2, tolerance=0.0), given, model=start, items=items)
    assert model is start
    assert trainer.n_trainings == 2
    assert trainer.n_images == 2 * 300


def test_certain_posteriors_train_as_labels() -> None:
    labels = noisy()
    hard = trainer_of(epochs=1).learn(SModelEm(max_iter=1), supervise(labels, 3))
    soft = trainer_of(epochs=1).learn(SModelEm(target="posterior", max_iter=1), supervise(np.eye(3)[labels], 3))
    for one, other in zip(hard.parameters(), soft.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"tolerance": -0.1}, "tolerance must not be negative, got -0.1"),
        ({"target": "votes"}, "target must be"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SModelEm(**options)
