from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from crowdml.learning.batch import Batch
from crowdml.learning.learners.bootstrapping import soft_bootstrapping
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.genie import Genie
from crowdml.learning.learners.noise_layer import WithTransition, count_transition
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.loop import train
from crowdml.learning.supervision import supervise
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.tasks import Fixed, blobs, make

DATA = blobs(n_items=96)
TRUTH = torch.from_numpy(DATA.train_labels)
NOISY = torch.where(torch.arange(48) % 4 == 0, (TRUTH + 1) % 3, TRUTH)


def test_the_loss_by_hand() -> None:
    # Classes 0, 0, 1, 1 were labelled 0, 1, 1, 1: T = ((1/2, 1/2), (0, 1)).
    truth, labels = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    task = replace(make(blobs(n_items=8, n_classes=2), network=lambda: Fixed([0.8, 0.2])), truth=truth)
    given = supervise(labels, 2)
    model = Genie().build(task, given)
    terms = Genie().loss(model, Batch((torch.zeros(4, 1),), torch.arange(4), given, 0, 1))
    # P(label 0) = 0.8 / 2 = 0.4, P(label 1) = 0.8 / 2 + 0.2 = 0.6.
    assert list(terms) == ["noise_layer"]
    assert terms["noise_layer"].item() == pytest.approx(-(math.log(0.4) + 3 * math.log(0.6)) / 4, rel=1e-6)


def test_the_quasi_clustering_term_is_that_of_nnaqc() -> None:
    task, given = make(DATA), supervise(NOISY, 3)
    learner = Genie(alpha=0.7, beta=0.6)
    model = learner.build(task, given)
    (inputs,) = next(iter(task.inputs.batches([torch.arange(8)])))
    batch = Batch((inputs,), torch.arange(8), given, 0, 1)
    terms, alone = learner.loss(model, batch), Genie().loss(model, batch)
    log_class = log_probabilities(model(inputs))
    torch.testing.assert_close(terms["noise_layer"], 0.7 * alone["noise_layer"])
    torch.testing.assert_close(terms["quasi_clustering"], 0.3 * soft_bootstrapping(log_class, NOISY[:8], trust=1 - 0.6))


def test_where_all_labels_are_right_it_is_plain_cross_entropy() -> None:
    given = supervise(TRUTH, 3)
    genie, plain = (train(learner, make(DATA), given).model.state_dict() for learner in (Genie(), CrossEntropy()))
    for key, value in plain.items():
        torch.testing.assert_close(genie[f"network.{key}"], value, rtol=1e-4, atol=1e-5)


def test_the_matrix_is_counted_over_the_items_whose_truth_is_known() -> None:
    hidden = torch.where(torch.arange(48) < 12, -1, TRUTH)
    model = Genie().build(replace(make(DATA), truth=hidden), supervise(NOISY, 3))
    expected = count_transition(TRUTH[12:], nn.functional.one_hot(NOISY[12:], 3).float())
    assert isinstance(model, WithTransition)
    torch.testing.assert_close(model.transition, expected)


def test_a_posterior_is_counted_whole() -> None:
    posterior = torch.rand(48, 3).softmax(dim=1)
    model = Genie(target="posterior").build(make(DATA), supervise(posterior, 3))
    assert isinstance(model, WithTransition)
    torch.testing.assert_close(model.transition, count_transition(TRUTH, posterior))


def test_a_model_that_goes_on_has_the_matrix_of_the_labels_of_now() -> None:
    trainer = Trainer(make(DATA, epochs=1))
    model = trainer.learn(Genie(), supervise(TRUTH, 3))
    model = trainer.learn(Genie(), supervise(NOISY, 3), model=model)
    assert isinstance(model, WithTransition)
    torch.testing.assert_close(model.transition, count_transition(TRUTH, nn.functional.one_hot(NOISY, 3).float()))


def test_without_any_truth_it_says_what_it_lacks() -> None:
    given = supervise(NOISY, 3)
    for truth in (None, torch.full((48,), -1)):
        with pytest.raises(ValueError, match="the genie needs true classes of training items"):
            Genie().build(replace(make(DATA), truth=truth), given)


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got 2"):
        Genie(alpha=2)
    with pytest.raises(ValueError, match=r"beta must be a number in"):
        Genie(beta=np.nan)
