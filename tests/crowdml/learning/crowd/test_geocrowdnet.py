from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.joint.end_to_end import EndToEnd
from crowdml.learning.crowd.ccem import Ccem
from crowdml.learning.crowd.geocrowdnet import (
    GeoCrowdNet,
    Volume,
    gram_of_matrices,
    gram_of_predictions,
    negative_log_det,
)
from crowdml.learning.trainer import Trainer
from crowdml.methods import resolve
from tests.crowdml.learning.crowd.cases import (
    accuracy_and_error,
    check_gradient,
    given_of,
    hard_crowd,
    predicting,
    random_labels,
    random_probabilities,
    task_of,
    values_of,
)

F = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)


def parameters_of(learner: Ccem, **recipe) -> torch.Tensor:
    model = EndToEnd(learner=learner).fit(hard_crowd()[0], task_of(epochs=2, **recipe)).model
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_log_det_of_predictions_by_hand() -> None:
    # Of a square F the determinant is (0.9 * 0.8 - 0.1 * 0.2)^2 = 0.49.
    value, usable = negative_log_det(gram_of_predictions(F.log()))
    assert bool(usable)
    assert float(value) == pytest.approx(-log(0.49))


def test_log_det_of_matrices_by_hand() -> None:
    # One worker gives 0.49 again; a second, who is always right, adds the identity to the Gram matrix:
    # rows (0.9, 0.1) and (0.2, 0.8) of A have the products 0.82, 0.26 and 0.68.
    one = F.log()[None]
    assert float(negative_log_det(gram_of_matrices(one))[0]) == pytest.approx(-log(0.49))
    sure = torch.eye(2, dtype=torch.float64).log()
    two = torch.cat([one, sure[None]])
    assert float(negative_log_det(gram_of_matrices(two))[0]) == pytest.approx(-log(1.82 * 1.68 - 0.26**2))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_log_det_is_numpys_and_knows_no_order_of_classes_and_workers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    confusion = rng.dirichlet(np.ones(3), size=(4, 3))
    stacked = np.concatenate([matrix.T for matrix in confusion])
    expected = -np.log(np.linalg.det(stacked.T @ stacked))
    workers, classes = rng.permutation(4), rng.permutation(3)
    for matrices in (confusion, confusion[workers][:, classes][:, :, classes]):
        value, _ = negative_log_det(gram_of_matrices(torch.from_numpy(matrices).log()))
        assert float(value) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("volume", ["F", "W"])
def test_without_weight_it_is_ccem_to_the_last_bit(volume: Volume) -> None:
    assert torch.equal(parameters_of(GeoCrowdNet(volume=volume, weight=0.0)), parameters_of(Ccem()))
    assert not torch.equal(parameters_of(GeoCrowdNet(volume=volume, weight=0.1)), parameters_of(Ccem()))


@pytest.mark.parametrize("volume", ["F", "W"])
def test_the_gradient(volume: Volume) -> None:
    learner = GeoCrowdNet(volume=volume, weight=0.3)
    supervision = given_of(random_labels(6, 2, 3, 0), 3)
    check_gradient(learner, *predicting(learner, supervision, random_probabilities(6, 3, 0)))


def test_the_terms_of_the_loss() -> None:
    learner = GeoCrowdNet(weight=0.5)
    model, batch = predicting(learner, given_of([[0], [1]], 2), F)
    terms = values_of(learner, model, batch)
    assert terms["cross_entropy"] == pytest.approx(values_of(Ccem(), model, batch)["cross_entropy"])
    assert terms["volume"] == pytest.approx(-0.5 * log(0.49))


SINGULAR = torch.full((4, 3), 1 / 3, dtype=torch.float64)
FEWER_THAN_CLASSES = random_probabilities(2, 3, 0)
ABOVE_100 = torch.softmax(1e-12 * torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator()), dim=1)


@pytest.mark.parametrize("probabilities", [SINGULAR, FEWER_THAN_CLASSES, ABOVE_100])
def test_a_volume_without_bound_is_left_out_and_counted(probabilities: torch.Tensor) -> None:
    learner = GeoCrowdNet(weight=0.5)
    model, batch = predicting(learner, given_of(np.zeros((len(probabilities), 2), int), 3), probabilities)
    logits = batch.inputs.clone().requires_grad_()
    batch = replace(batch, views=(logits,))
    terms = learner.loss(model, batch)
    assert terms["volume"].item() == 0
    (whole,) = torch.autograd.grad(terms["cross_entropy"] + terms["volume"], logits)
    (alone,) = torch.autograd.grad(Ccem().loss(model, batch)["cross_entropy"], logits)
    assert torch.equal(whole, alone)
    assert isinstance(model.batches, torch.Tensor)
    assert model.batches.tolist() == [1, 1]
    learner.loss(model.eval(), batch)
    assert model.batches.tolist() == [1, 1]


@pytest.mark.parametrize(("batch_size", "share"), [(32, 0.0), (3, 1.0)])
def test_the_share_of_batches_left_out_is_reported(batch_size: int, share: float) -> None:
    points: list[tuple[int, str, float]] = []
    task = task_of(epochs=2, batch_size=batch_size, report=lambda *point: points.append(point))
    supervision = given_of(hard_crowd()[0].to_dense(), 4)
    Trainer(task).learn(GeoCrowdNet(), supervision)
    assert [point for point in points if point[1] == "regulariser_left_out"] == [(2, "regulariser_left_out", share)]


def test_determinants_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, _ = negative_log_det(gram_of_predictions(F.float().log()))
    assert float(value) == pytest.approx(-log(0.49), rel=1e-5)


@pytest.mark.parametrize("volume", ["F", "W"])
def test_the_regulariser_raises_its_volume_and_the_rest_is_still_learned(volume: Volume) -> None:
    crowd, _ = hard_crowd()

    def volume_of(weight: float) -> float:
        task = task_of(epochs=10)
        learner = GeoCrowdNet(volume=volume, weight=weight)
        model = EndToEnd(learner=learner).fit(crowd, task).model
        if volume == "W":
            gram = gram_of_matrices(learner.confusion(model).log())
        else:
            gram = gram_of_predictions(Trainer(task).predict(model).log())
        return -negative_log_det(gram)[0].item()

    assert volume_of(0.1) > volume_of(0.0)
    right, distance = accuracy_and_error(GeoCrowdNet(volume=volume))
    assert right > 0.97
    assert distance < 0.15


def test_the_registry_has_both() -> None:
    assert resolve("geocrowdnet_f", {"weight": 0.1}).source.learner == GeoCrowdNet(volume="F", weight=0.1)
    assert resolve("geocrowdnet_w").source.learner == GeoCrowdNet(volume="W")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"volume": "H"}, 'volume must be "F" or "W", got \'H\''),
        ({"weight": -1.0}, "weight must be at least 0, got -1.0"),
        ({"init": "none"}, 'init must be "identity" or "votes"'),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GeoCrowdNet(**options)
