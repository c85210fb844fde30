from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from crowdml.learning.batch import Batch
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.trace import _START, TraceRegularised, WithLearnedTransition
from crowdml.learning.supervision import supervise
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.tasks import Fixed, blobs, make

DATA = blobs(n_items=96)
TRUTH = torch.from_numpy(DATA.train_labels)
GIVEN = supervise(TRUTH, 3)


def with_matrix(rows: list[list[float]], probabilities: list[float]) -> WithLearnedTransition:
    model = WithLearnedTransition(Fixed(probabilities), len(rows))
    with torch.no_grad():
        model.row_logits.copy_(torch.log(torch.tensor(rows)))
    return model


def terms_in(epoch: int, learner: TraceRegularised, model: WithLearnedTransition) -> dict[str, torch.Tensor]:
    batch = Batch((torch.zeros(1, 1),), torch.tensor([0]), supervise(torch.tensor([1]), 2), epoch, 10)
    return learner.loss(model, batch)


def test_the_terms_by_hand() -> None:
    # f = (0.7, 0.3), Q = ((0.9, 0.1), (0.2, 0.8)): P(label 1) = 0.31; trace / 2 = 0.85.
    model = with_matrix([[0.9, 0.1], [0.2, 0.8]], [0.7, 0.3])
    learner = TraceRegularised(penalty=0.4, warm_up=0.3)
    terms = terms_in(3, learner, model)
    assert terms["noise_layer"].item() == pytest.approx(-math.log(0.31), rel=1e-6)
    assert terms["trace"].item() == pytest.approx(0.4 * 0.85, rel=1e-6)
    warming = terms_in(2, learner, model)
    assert warming["noise_layer"].item() == pytest.approx(-math.log(0.3), rel=1e-6)
    assert warming["trace"].item() == 0


def test_the_gradient_in_double_precision() -> None:
    torch.manual_seed(0)
    model = WithLearnedTransition(nn.Identity(), 3).double()
    learner = TraceRegularised(penalty=0.2, warm_up=0.0)

    def loss(logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(_Loss(learner, model), {"model.row_logits": rows}, (logits,))

    inputs = (torch.randn(3, 3).double().requires_grad_(), torch.randn(3, 3).double().requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)


class _Loss(nn.Module):
    def __init__(self, learner: TraceRegularised, model: WithLearnedTransition) -> None:
        super().__init__()
        self.model = model
        self._learner = learner

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        given = supervise(torch.tensor([0, 1, 2]), 3)
        terms = self._learner.loss(self.model, Batch((logits,), torch.arange(3), given, 0, 1))
        return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize("n_classes", [2, 10, 100])
def test_the_layer_starts_near_the_identity(n_classes: int) -> None:
    transition = WithLearnedTransition(Fixed([0.5, 0.5]), n_classes).transition()
    torch.testing.assert_close(transition.sum(dim=1), torch.ones(n_classes))
    torch.testing.assert_close(transition.diagonal(), torch.full((n_classes,), _START))
    off = transition[0, 1:]
    torch.testing.assert_close(off, torch.full_like(off, (1 - _START) / (n_classes - 1)))


def test_the_warm_up_is_plain_cross_entropy_and_leaves_the_layer_alone() -> None:
    # Of four epochs the warm-up of 0.9 takes all, as each begins before it is over.
    task = make(DATA, epochs=4, weight_decay=0.01)
    plain = Trainer(task).learn(CrossEntropy(), GIVEN).state_dict()
    warm = Trainer(task).learn(TraceRegularised(warm_up=0.9), GIVEN).state_dict()
    for key, value in plain.items():
        torch.testing.assert_close(warm[f"network.{key}"], value)
    assert torch.equal(warm["row_logits"], WithLearnedTransition(nn.Identity(), 3).row_logits)


@pytest.mark.parametrize(("optimizer", "factor"), [("sgd", 3), ("adam", 1)])
def test_the_layer_learns_without_decay_and_as_fast_as_its_rows_are_many(optimizer: str, factor: int) -> None:
    recipe = make(DATA, lr=0.02, weight_decay=0.1, optimizer=optimizer).settings.recipe
    model = WithLearnedTransition(nn.Linear(4, 3), 3)
    network, layer = TraceRegularised().parameter_groups(model, recipe)
    assert network == {"params": list(model.network.parameters())}
    assert layer == {"params": [model.row_logits], "lr": pytest.approx(0.02 * factor), "weight_decay": 0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": -0.1}, "penalty must not be negative or infinite, got -0.1"),
        ({"penalty": math.nan}, "penalty must be"),
        ({"warm_up": 1.0}, r"warm_up must be in \[0, 1\), got 1.0"),
    ],
)
def test_options_out_of_range(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TraceRegularised(**options)
