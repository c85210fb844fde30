from __future__ import annotations

from math import exp, log

import pytest
import torch

from crowdml.joint.end_to_end import EndToEnd
from crowdml.learning.crowd.trace_reg import TraceReg
from tests.crowdml.learning.crowd.cases import (
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

# softplus of 1 and of -5, the parameters on and off the diagonal at the start.
ON, OFF = log(1 + exp(1)), log(1 + exp(-5))


def test_the_terms_by_hand() -> None:
    # Two workers, two classes: every trace starts at 2 ON / (ON + OFF).
    learner = TraceReg(weight=0.1, warm_up=0.0)
    model, batch = predicting(learner, given_of([[1, -1]], 2), torch.tensor([[0.7, 0.3]], dtype=torch.float64))
    terms = values_of(learner, model, batch)
    right, wrong = ON / (ON + OFF), OFF / (ON + OFF)
    assert terms["cross_entropy"] == pytest.approx(-log(0.7 * wrong + 0.3 * right), rel=1e-6)
    assert terms["trace"] == pytest.approx(0.1 * 2 * right, rel=1e-6)


def test_it_starts_near_the_identity() -> None:
    model, _ = predicting(TraceReg(), given_of([[0]], 10), random_probabilities(1, 10, 0))
    expected = torch.tensor(ON / (ON + 9 * OFF), dtype=torch.float64)
    assert torch.allclose(TraceReg().confusion(model)[0].diagonal(), expected)


@pytest.mark.parametrize(("epoch", "counts"), [(0, False), (1, False), (2, True), (9, True)])
def test_the_trace_counts_after_the_warm_up(epoch: int, counts: bool) -> None:
    learner = TraceReg(warm_up=0.15)
    supervision = given_of([[0, 1]], 2)
    model, batch = predicting(learner, supervision, random_probabilities(1, 2, 0))
    terms = values_of(learner, model, batch_of(supervision, batch.inputs, epoch=epoch, n_epochs=10))
    assert (terms["trace"] > 0) is counts


def test_the_gradient() -> None:
    learner = TraceReg(weight=0.3, warm_up=0.0)
    supervision = given_of(random_labels(5, 2, 3, 0), 3)
    check_gradient(learner, *predicting(learner, supervision, random_probabilities(5, 3, 0)))


def test_more_weight_makes_a_smaller_trace() -> None:
    def trace(weight: float) -> float:
        learner = TraceReg(weight=weight)
        model = EndToEnd(learner=learner).fit(hard_crowd()[0], task_of(epochs=10)).model
        return learner.confusion(model).diagonal(dim1=1, dim2=2).sum(dim=1).mean().item()

    assert trace(0.3) < trace(0.0)


def test_it_learns_where_the_majority_misleads() -> None:
    right, distance = accuracy_and_error(TraceReg(), lr=0.1)
    assert right > 0.97
    assert distance < 0.15


@pytest.mark.parametrize(
    ("options", "message"),
    [({"weight": -0.1}, "weight must be at least 0"), ({"warm_up": 1.0}, r"warm_up must be in \[0, 1\), got 1.0")],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TraceReg(**options)
