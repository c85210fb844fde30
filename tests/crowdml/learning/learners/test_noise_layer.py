"""The shared noise layer, and what all methods of one noisy label must do alike."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crowdml import datasets, methods
from crowdml.learning.batch import Batch
from crowdml.learning.evaluate import accuracies
from crowdml.learning.inputs import in_memory
from crowdml.learning.learner import LabelLearner
from crowdml.learning.learners.noise_layer import WithTransition, check_share, noisy_cross_entropy
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.recipe import Recipe, TrainingSettings
from crowdml.learning.supervision import supervise
from crowdml.learning.task import make_task
from crowdml.learning.trainer import Trainer
from crowdml.noise.spread import RandomSimplex
from tests.crowdml.learning.tasks import blobs, make

METHODS = (
    "nnaqc", "nnaqc_dropout", "nna", "qc", "dropout", "genie", "genie_qc", "trace", "bootstrapping",
    "bootstrapping_hard", "forward", "backward",
)  # fmt: skip
DATA = blobs(n_items=96)
LABELS = np.where(np.arange(48) % 5 == 0, (DATA.train_labels + 1) % 3, DATA.train_labels)


def learner_of(name: str, target: str = "labels") -> LabelLearner:
    made = methods.resolve(name, {"target": target}).learner
    assert isinstance(made, LabelLearner)
    return made


def log_f(*rows: list[float]) -> torch.Tensor:
    return torch.log(torch.tensor(rows))


def test_noisy_cross_entropy_by_hand() -> None:
    # f = (0.7, 0.3): P(label 0) = 0.7 * 0.9 + 0.3 * 0.2 = 0.69, and P(label 1) = 0.31.
    transition = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    both = log_f([0.7, 0.3], [0.7, 0.3])
    expected = -(math.log(0.69) + math.log(0.31)) / 2
    assert noisy_cross_entropy(both, transition, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-6)
    expected = -(0.25 * math.log(0.69) + 0.75 * math.log(0.31))
    soft = noisy_cross_entropy(both[:1], transition, torch.tensor([[0.25, 0.75]]))
    assert soft.item() == pytest.approx(expected, rel=1e-6)


@given(st.integers(2, 5), st.integers(1, 6), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_noisy_cross_entropy_is_the_naive_one_and_does_not_care_for_the_order_of_classes(
    n_classes: int, n_items: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    f, transition = rng.dirichlet(np.ones(n_classes), n_items), rng.dirichlet(np.ones(n_classes), n_classes)
    labels = rng.integers(n_classes, size=n_items)
    naive = -sum(
        math.log(sum(f[item, c] * transition[c, labels[item]] for c in range(n_classes))) for item in range(n_items)
    )
    order = rng.permutation(n_classes)
    place = np.argsort(order)
    for values, matrix, given_labels in (
        (f, transition, labels),
        (f[:, order], transition[np.ix_(order, order)], place[labels]),
    ):
        got = noisy_cross_entropy(
            torch.log(torch.from_numpy(values)), torch.from_numpy(matrix), torch.from_numpy(given_labels)
        )
        assert got.item() == pytest.approx(naive / n_items, rel=1e-9)


def test_a_certain_distribution_is_its_label_and_the_identity_changes_nothing() -> None:
    torch.manual_seed(0)
    log_class = log_probabilities(torch.randn(5, 4).double())
    transition, labels = torch.rand(4, 4).double().softmax(dim=1), torch.tensor([0, 3, 1, 1, 2])
    hard = noisy_cross_entropy(log_class, transition, labels)
    soft = noisy_cross_entropy(log_class, transition, torch.eye(4).double()[labels])
    torch.testing.assert_close(hard, soft)
    plain = nn.functional.nll_loss(log_class, labels)
    torch.testing.assert_close(noisy_cross_entropy(log_class, torch.eye(4).double(), labels), plain)


def test_a_label_that_the_matrix_rules_out_has_a_finite_loss_and_gradient() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    for target in (torch.tensor([1]), torch.tensor([[0.0, 1.0]])):
        loss = noisy_cross_entropy(log_probabilities(logits), torch.eye(2), target)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.item() == pytest.approx(-math.log(1e-12), rel=1e-5)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("soft", [False, True])
def test_gradient_of_noisy_cross_entropy(soft: bool) -> None:
    torch.manual_seed(1)
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    rows = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    target = torch.rand(3, 4).double().softmax(dim=1) if soft else torch.tensor([0, 3, 1])
    assert torch.autograd.gradcheck(
        lambda logits, rows: noisy_cross_entropy(log_probabilities(logits), rows.softmax(dim=1), target), (logits, rows)
    )


def test_log_probabilities_are_at_least_single_precision() -> None:
    assert log_probabilities(torch.zeros(1, 2, dtype=torch.bfloat16)).dtype == torch.float32
    assert log_probabilities(torch.zeros(1, 2, dtype=torch.float64)).dtype == torch.float64


def test_the_matrix_is_a_copy_and_travels_with_the_model() -> None:
    matrix = torch.eye(2)
    model = WithTransition(nn.Linear(3, 2), matrix)
    matrix.fill_(0.5)
    assert torch.equal(model.state_dict()["transition"], torch.eye(2))
    assert torch.equal(model(torch.ones(1, 3)), model.network(torch.ones(1, 3)))


def test_a_share_is_checked_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"beta must be in \[0, 1\], got 1.5"):
        check_share("beta", 1.5)
    with pytest.raises(ValueError, match="beta"):
        check_share("beta", math.nan)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_and_gives_every_parameter_a_gradient(name: str, precision: str) -> None:
    # Data parallelism fails where a parameter is left out of a step; the first and the last epoch may differ.
    task = make(DATA, epochs=2, precision=precision)
    model = Trainer(task).learn(learner_of(name), supervise(LABELS, 3))
    for epoch in (0, 1):
        model.zero_grad()
        terms = loss_of(name, model, epoch)
        assert all(term.dtype == torch.float32 for term in terms.values())
        torch.stack(list(terms.values())).sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_a_certain_posterior_trains_as_its_labels(name: str) -> None:
    task = make(DATA, epochs=2)
    states = [
        Trainer(task).learn(learner_of(name, target), supervise(np.eye(3)[LABELS], 3)).state_dict()
        for target in ("labels", "posterior")
    ]
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_of_held_out_items_changes_nothing(name: str) -> None:
    model = Trainer(make(DATA, epochs=1)).learn(learner_of(name), supervise(LABELS, 3)).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.inference_mode():
        first, second = (torch.stack(list(loss_of(name, model, 0).values())) for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", METHODS)
def test_a_method_follows_any_aggregator_and_stands_in_labnet(name: str) -> None:
    assert type(methods.resolve(f"glad+{name}").learner) is type(learner_of(name))
    assert methods.resolve(f"labnet+{name}").source_is_joint


@cache
def error_on_digits(name: str) -> float:
    """Share of the test digits that a network gets wrong after 30 % random-simplex noise."""
    data = datasets.load("digits")
    assert isinstance(data, datasets.ImageData)
    rng = np.random.default_rng(0)
    transition = RandomSimplex(0.3).transition(10, rng)
    labels = (transition[data.train_labels].cumsum(axis=1) > rng.random((len(data.train_labels), 1))).argmax(axis=1)
    recipe = Recipe(epochs=30, batch_size=64, lr=0.05, weight_decay=5e-4)
    assert data.for_networks is not None
    inputs, test_inputs = in_memory(data.for_networks.train, data.for_networks.test, recipe.inputs, "cpu")
    task = make_task(
        inputs,
        10,
        TrainingSettings("mlp256", recipe),
        test_inputs=test_inputs,
        test_labels=data.test_labels,
        truth=data.train_labels,
    )
    model = Trainer(task).learn(learner_of(name), supervise(labels, 10), evaluate=False)
    return 1 - accuracies(model, task)["test_accuracy"]


@pytest.mark.parametrize("name", ["nnaqc", "nnaqc_dropout", "genie", "genie_qc", "trace"])
def test_noisy_digits_are_learned_better_than_by_plain_cross_entropy(name: str) -> None:
    assert error_on_digits("base") > 0.15
    assert error_on_digits(name) < 0.6 * error_on_digits("base")


def loss_of(name: str, model: nn.Module, epoch: int) -> dict[str, torch.Tensor]:
    items = torch.arange(12)
    (inputs,) = next(iter(make(DATA).inputs.batches([items])))
    return learner_of(name).loss(model, Batch((inputs,), items, supervise(LABELS, 3), epoch, 2))
