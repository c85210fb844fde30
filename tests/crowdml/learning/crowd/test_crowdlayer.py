from __future__ import annotations

from math import e, exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.learning.batch import Batch
from crowdml.learning.crowd.crowdlayer import CrowdLayer, LayerForm, NetworkWithCrowdLayer
from tests.crowdml.learning.crowd.cases import (
    accuracy_and_error,
    batch_of,
    check_gradient,
    given_of,
    predicting,
    random_labels,
    random_probabilities,
    values_of,
)

FORMS: list[LayerForm] = ["MW", "VW", "VW+B"]


def with_random_weights(form: LayerForm, seed: int, n_workers: int = 3) -> tuple[NetworkWithCrowdLayer, Batch]:
    """6 items of 3 classes."""
    supervision = given_of(random_labels(6, n_workers, 3, seed), 3)
    model, batch = predicting(CrowdLayer(form=form), supervision, random_probabilities(6, 3, seed))
    assert isinstance(model, NetworkWithCrowdLayer)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model, batch


def test_one_worker_s_matrix_is_the_noise_layer_of_nnaqc() -> None:
    # softmax(W softmax(t)), NNAQC with alpha = 1: f = (0.7, 0.3), W = (1, 0.5; -1, 2) from class to label.
    model, batch = predicting(CrowdLayer(), given_of([[1]], 2), torch.tensor([[0.7, 0.3]], dtype=torch.float64))
    assert isinstance(model, NetworkWithCrowdLayer)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[[1, 0.5], [-1, 2]]]))
    says_0, says_1 = 0.7 * 1 - 0.3 * 1, 0.7 * 0.5 + 0.3 * 2
    expected = -log(exp(says_1) / (exp(says_0) + exp(says_1)))
    assert values_of(CrowdLayer(), model, batch)["cross_entropy"] == pytest.approx(expected)


@pytest.mark.parametrize(("form", "logits"), [("VW", (1.4, 0.9)), ("VW+B", (2.4, -1.1))])
def test_weights_and_biases_by_hand(form: LayerForm, logits: tuple[float, float]) -> None:
    # f = (0.7, 0.3), w = (2, 3), b = (1, -2).
    model, batch = predicting(CrowdLayer(form=form), given_of([[0]], 2), torch.tensor([[0.7, 0.3]]))
    assert isinstance(model, NetworkWithCrowdLayer)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 3.0]]))
        if model.bias is not None:
            model.bias.copy_(torch.tensor([[1.0, -2.0]]))
    expected = -log(exp(logits[0]) / (exp(logits[0]) + exp(logits[1])))
    assert values_of(CrowdLayer(form=form), model, batch)["cross_entropy"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_is_that_of_a_loop_over_annotations(form: LayerForm) -> None:
    model, batch = with_random_weights(form, 1)
    dense, f = random_labels(6, 3, 3, 1), random_probabilities(6, 3, 1).numpy()
    weight = model.weight.detach().numpy()
    bias = np.zeros((3, 3)) if model.bias is None else model.bias.detach().numpy()
    losses = []
    for item, worker in zip(*np.nonzero(dense >= 0), strict=True):
        scaled = f[item] @ weight[worker] if form == "MW" else f[item] * weight[worker]
        logits = scaled + bias[worker]
        losses.append(np.log(np.exp(logits).sum()) - logits[dense[item, worker]])
    assert values_of(CrowdLayer(form=form), model, batch)["cross_entropy"] == pytest.approx(np.mean(losses), rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient(form: LayerForm) -> None:
    check_gradient(CrowdLayer(form=form), *with_random_weights(form, 2))


@pytest.mark.parametrize("form", FORMS)
def test_confusion_is_what_the_layer_makes_of_certainty(form: LayerForm) -> None:
    model, _ = with_random_weights(form, 3)
    confusion = CrowdLayer(form=form).confusion(model)
    assert confusion.shape == (3, 3, 3)
    assert torch.allclose(confusion.sum(dim=2), torch.ones(3, 3, dtype=torch.float64))
    # Worker 1 on an item that is certainly of class 2.
    weight = model.weight.detach()[1, 2]
    by_hand = weight if form == "MW" else weight * torch.tensor([0, 0, 1])
    bias = 0 if model.bias is None else model.bias.detach()[1]
    assert torch.allclose(confusion[1, 2], (by_hand + bias).softmax(dim=0))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_starts_as_a_weak_identity(form: LayerForm) -> None:
    model, _ = predicting(CrowdLayer(form=form), given_of([[0, 1]], 3), random_probabilities(1, 3, 0))
    confusion = CrowdLayer(form=form).confusion(model)
    assert torch.allclose(confusion[0], (torch.eye(3) * (e - 1) + 1).double() / (e + 2))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(FORMS))
def test_workers_in_another_order_change_nothing(seed: int, form: LayerForm) -> None:
    model, batch = with_random_weights(form, seed, n_workers=4)
    learner = CrowdLayer(form=form)
    workers = np.random.default_rng(seed).permutation(4)
    expected = values_of(learner, model, batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter[torch.from_numpy(workers)].clone())
    renamed = given_of(random_labels(6, 4, 3, seed)[:, workers], 3)
    assert values_of(learner, model, batch_of(renamed, batch.inputs)) == pytest.approx(expected)


@pytest.mark.parametrize("form", FORMS)
def test_it_learns_where_the_majority_misleads(form: LayerForm) -> None:
    right, _ = accuracy_and_error(CrowdLayer(form=form), lr=0.05)
    assert right > 0.97


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match='form must be one of "MW", "VW"'):
        CrowdLayer(form="SW")  # pyright: ignore[reportArgumentType]
