from __future__ import annotations

from dataclasses import replace
from math import e, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crowdml.learning.crowd.ccem import Ccem
from crowdml.learning.crowd.matrices import WorkerMatrices
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.supervision import supervise
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.crowd.cases import (
    DATA,
    accuracy_and_error,
    batch_of,
    check_gradient,
    given_of,
    hard_crowd,
    predicting,
    random_labels,
    random_probabilities,
    task_of,
    values_of,
)


def with_random_matrices(learner: Ccem, seed: int, n_items: int = 6, n_workers: int = 3, n_classes: int = 3):
    given = given_of(random_labels(n_items, n_workers, n_classes, seed), n_classes)
    model, batch = predicting(learner, given, random_probabilities(n_items, n_classes, seed))
    assert isinstance(model, WorkerMatrices)
    with torch.no_grad():
        model.free.copy_(torch.randn(model.free.shape, generator=torch.Generator().manual_seed(seed)))
    return model, batch, given


def test_the_loss_by_hand() -> None:
    # At the identity's parameters a row is (e, 1) / (e + 1): worker 0 says 0 of both items, worker 1 says 1 once.
    supervision = given_of([[0, 1], [0, -1]], 2)
    model, batch = predicting(Ccem(), supervision, torch.tensor([[0.7, 0.3], [0.2, 0.8]], dtype=torch.float64))
    right, wrong = e / (e + 1), 1 / (e + 1)
    says_0, says_1 = 0.7 * right + 0.3 * wrong, 0.7 * wrong + 0.3 * right
    expected = -(log(says_0) + log(says_1) + log(0.2 * right + 0.8 * wrong)) / 3
    assert values_of(Ccem(), model, batch)["cross_entropy"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_that_of_a_loop_over_annotations(seed: int) -> None:
    model, batch, _ = with_random_matrices(Ccem(), seed)
    dense = random_labels(6, 3, 3, seed)
    f, confusion = random_probabilities(6, 3, seed).numpy(), Ccem().confusion(model).detach().numpy()
    losses = [
        -log(sum(f[i, c] * confusion[w, c, dense[i, w]] for c in range(3)))
        for i in range(6)
        for w in range(3)
        if dense[i, w] >= 0
    ]
    assert values_of(Ccem(), model, batch)["cross_entropy"] == pytest.approx(np.mean(losses), rel=1e-9)


def test_the_gradient() -> None:
    model, batch, _ = with_random_matrices(Ccem(), 0)
    check_gradient(Ccem(), model, batch)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_workers_and_classes_in_another_order_change_nothing(seed: int) -> None:
    model, batch, _ = with_random_matrices(Ccem(), seed, n_workers=4)
    assert isinstance(model, WorkerMatrices)
    rng = np.random.default_rng(seed)
    workers, classes = rng.permutation(4), rng.permutation(3)
    dense = random_labels(6, 4, 3, seed)[:, workers]
    renamed = given_of(np.where(dense >= 0, classes[dense], -1), 3)
    back = torch.from_numpy(np.argsort(classes))
    other = WorkerMatrices(nn.Identity(), model.free.detach()[torch.from_numpy(workers)][:, back][:, :, back])
    expected = values_of(Ccem(), model, batch)
    assert values_of(Ccem(), other, batch_of(renamed, batch.inputs[:, back])) == pytest.approx(expected)


def test_the_identity_is_a_weak_diagonal() -> None:
    model, _ = predicting(Ccem(), given_of([[0], [1]], 10), random_probabilities(2, 10, 0))
    assert torch.allclose(Ccem().confusion(model)[0].diagonal(), torch.tensor(e / (e + 9), dtype=torch.float64))


def test_votes_start_from_the_counted_matrices() -> None:
    # Shares of the items: (1, 0), (1/2, 1/2), (0, 1).  Worker 0 says 0, 0, 1; worker 1 says 0, 1 and nothing.
    supervision = given_of([[0, 0], [0, 1], [1, -1]], 2)
    learner = Ccem(init="votes")
    model, _ = predicting(learner, supervision, random_probabilities(3, 2, 0))
    counts = torch.tensor([[[1.5, 0], [0.5, 1]], [[1, 0.5], [0, 0.5]]], dtype=torch.float64) + 0.01
    assert torch.allclose(learner.confusion(model), counts / counts.sum(dim=2, keepdim=True), atol=1e-6)


def test_items_without_annotations_teach_nothing() -> None:
    supervision = given_of([[-1, -1], [-1, -1], [0, 1]], 2)
    model, _ = predicting(Ccem(), supervision, random_probabilities(3, 2, 0))
    logits = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    batch = replace(batch_of(supervision, logits), items=torch.tensor([0, 1]))
    loss = Ccem().loss(model, batch)["cross_entropy"]
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_it_learns_where_the_majority_misleads() -> None:
    crowd, _ = hard_crowd()
    plain = Trainer(task_of())
    votes = supervise(crowd.votes / crowd.votes.sum(axis=1, keepdims=True), 4)
    predicted = plain.predict(plain.learn(CrossEntropy(target="posterior"), votes)).argmax(dim=1).numpy()
    of_majority = (predicted == DATA.train_labels).mean()
    right, distance = accuracy_and_error(Ccem())
    assert of_majority < 0.9
    assert right > 0.97
    assert distance < 0.15


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(ValueError, match='init must be "identity" or "votes", got \'mle\''):
        Ccem(init="mle")  # pyright: ignore[reportArgumentType]
