from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crowdml.learning.learners.correction import (
    BackwardCorrection,
    Correction,
    ForwardCorrection,
    anchor_transition,
    backward_cross_entropy,
)
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.genie import Genie
from crowdml.learning.learners.noise_layer import WithTransition, count_transition
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.observers import Observers
from crowdml.learning.supervision import supervise
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs(n_items=96)
TRUTH = torch.from_numpy(DATA.train_labels)
NOISY = torch.where(torch.arange(48) % 4 == 0, (TRUTH + 1) % 3, TRUTH)
GIVEN = supervise(NOISY, 3)
COUNTED = count_transition(TRUTH, nn.functional.one_hot(NOISY, 3).float())
IDENTITY = torch.eye(3).tolist()


def learned(learner, **recipe) -> dict[str, torch.Tensor]:
    return Trainer(make(DATA, **recipe)).learn(learner, GIVEN).state_dict()


def test_the_backward_loss_by_hand() -> None:
    # T = ((0.9, 0.1), (0.2, 0.8)) has the inverse ((8, -1), (-2, 9)) / 7.
    transition, f = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([[0.7, 0.3], [0.7, 0.3]])
    by_label = [-(8 * math.log(0.7) - math.log(0.3)) / 7, -(-2 * math.log(0.7) + 9 * math.log(0.3)) / 7]
    got = backward_cross_entropy(f.log(), transition, torch.tensor([0, 1]))
    assert got.item() == pytest.approx(sum(by_label) / 2, rel=1e-5)
    soft = backward_cross_entropy(f[:1].log(), transition, torch.tensor([[0.25, 0.75]]))
    assert soft.item() == pytest.approx(0.25 * by_label[0] + 0.75 * by_label[1], rel=1e-5)


@given(st.integers(2, 6), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_the_backward_loss_is_unbiased(n_classes: int, seed: int) -> None:
    # Theorem 1: under the noise of each true class the expected loss is cross-entropy with that class.
    rng = np.random.default_rng(seed)
    transition = torch.from_numpy(0.5 * np.eye(n_classes) + 0.5 * rng.dirichlet(np.ones(n_classes), n_classes))
    log_class = torch.from_numpy(rng.normal(size=(1, n_classes))).log_softmax(dim=1)
    for true_class in range(n_classes):
        expected = backward_cross_entropy(log_class, transition, transition[true_class][None])
        torch.testing.assert_close(expected, -log_class[0, true_class])


def test_gradient_of_the_backward_loss() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    transition = (torch.eye(4) + torch.rand(4, 4)).double()
    labels = torch.tensor([3, 0, 1])
    assert torch.autograd.gradcheck(
        lambda logits: backward_cross_entropy(log_probabilities(logits), transition, labels), (logits,)
    )


def test_the_backward_loss_has_a_bottom() -> None:
    transition = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    log_class = log_probabilities(torch.tensor([[-1000.0, 1000.0]]))
    got = backward_cross_entropy(log_class, transition, torch.tensor([1]))
    assert got.item() == pytest.approx(2 / 7 * math.log(1e-7), rel=1e-5)


def test_the_anchor_is_the_item_at_the_percentile() -> None:
    # 101 items, sure of class 0 by 0.00, 0.01 ... 1.00: the 97th percentile is 0.97.
    sure = torch.arange(101) / 100
    predicted = torch.stack([sure, 1 - sure], dim=1)[torch.randperm(101)]
    torch.testing.assert_close(anchor_transition(predicted, 97.0), torch.tensor([[0.97, 0.03], [0.03, 0.97]]))
    torch.testing.assert_close(anchor_transition(predicted, 100.0), torch.eye(2))


def test_anchors_reveal_the_transition_of_a_network_that_knows_the_noise() -> None:
    # Items sure of their class are labelled by the rows of T; what others predict lies between the rows.
    transition = torch.tensor([[0.8, 0.1, 0.1], [0.0, 0.7, 0.3], [0.2, 0.2, 0.6]])
    sure = torch.eye(3).repeat(40, 1)
    unsure = torch.full((80, 3), 1 / 3)
    torch.testing.assert_close(anchor_transition(torch.cat([unsure, sure]) @ transition, 97.0), transition)


def test_forward_with_the_true_matrix_is_the_genie() -> None:
    forward, genie = learned(ForwardCorrection(transition=COUNTED.tolist())), learned(Genie())
    assert forward.keys() == genie.keys()
    for key, value in genie.items():
        torch.testing.assert_close(forward[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [ForwardCorrection, BackwardCorrection])
def test_with_the_identity_both_are_plain_cross_entropy(kind: type[Correction]) -> None:
    corrected, plain = learned(kind(transition=IDENTITY)), learned(CrossEntropy())
    for key, value in plain.items():
        torch.testing.assert_close(corrected[f"network.{key}"], value, rtol=1e-4, atol=1e-5)


def test_the_first_training_gives_the_matrix_and_the_second_starts_anew() -> None:
    task = make(DATA, epochs=4)
    first_trainer, trainer = Trainer(task), Trainer(task)
    first = first_trainer.learn(CrossEntropy(), GIVEN)
    model = trainer.learn(ForwardCorrection(), GIVEN)
    assert trainer.n_trainings == 2
    assert isinstance(model, WithTransition)
    torch.testing.assert_close(model.transition, anchor_transition(first_trainer.predict(first), 97.0))
    # The second of two trainings with that matrix is the same, so nothing of the first network is in it.
    again = Trainer(task)
    again.learn(CrossEntropy(), supervise(TRUTH, 3))
    other = again.learn(ForwardCorrection(transition=model.transition.tolist()), GIVEN)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value, rtol=1e-4, atol=1e-5)


def test_the_matrix_is_estimated_on_the_items_that_are_trained_on() -> None:
    task, items = make(DATA, epochs=2), torch.arange(0, 48, 2)
    trainer = Trainer(task)
    first = trainer.learn(CrossEntropy(), GIVEN, items=items)
    model = Trainer(task).learn(ForwardCorrection(), GIVEN, items=items)
    assert isinstance(model, WithTransition)
    torch.testing.assert_close(model.transition, anchor_transition(trainer.predict(first, items), 97.0))


def test_a_model_that_goes_on_takes_the_new_matrix() -> None:
    trainer = Trainer(make(DATA, epochs=1))
    model = trainer.learn(ForwardCorrection(transition=IDENTITY), GIVEN)
    went_on = trainer.learn(ForwardCorrection(transition=COUNTED.tolist()), GIVEN, model=model)
    assert went_on is model
    torch.testing.assert_close(went_on.state_dict()["transition"], COUNTED)


def test_it_goes_on_from_checkpoints(tmp_path: Path) -> None:
    task = replace(make(DATA, epochs=2), observers=Observers(checkpoints=tmp_path))
    first = Trainer(task).learn(ForwardCorrection(), GIVEN).state_dict()
    (tmp_path / "training-001.pt").unlink()
    again = Trainer(task).learn(ForwardCorrection(), GIVEN).state_dict()
    assert all(torch.equal(again[key], value) for key, value in first.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentile": 0}, r"percentile must be in \(0, 100\], got 0"),
        ({"transition": [[1.0, 0.0], [1.0]]}, r"transition must be square, got rows of lengths \[2, 1\]"),
        ({"transition": [[1.0, 0.0], [0.6, 0.6]]}, r"row 1 must hold probabilities that sum to 1, got \[0.6, 0.6\]"),
        ({"transition": [[1.5, -0.5], [0.5, 0.5]]}, "row 0 must hold probabilities"),
    ],
)
def test_options_out_of_range(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ForwardCorrection(**options)


def test_a_matrix_that_does_not_do() -> None:
    with pytest.raises(ValueError, match="transition has 2 classes, but the task has 3"):
        learned(ForwardCorrection(transition=[[1.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="no inverse"):
        learned(BackwardCorrection(transition=[[1 / 3] * 3] * 3))
