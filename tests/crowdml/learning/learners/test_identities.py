"""Where two papers' methods are one: the losses and their gradients agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crowdml.labels import CrowdLabels
from crowdml.learning.batch import Batch
from crowdml.learning.crowd.ccem import Ccem
from crowdml.learning.crowd.crowdlayer import CrowdLayer
from crowdml.learning.crowd.geocrowdnet import GeoCrowdNet
from crowdml.learning.learner import Learner
from crowdml.learning.learners.correction import ForwardCorrection
from crowdml.learning.learners.genie import Genie
from crowdml.learning.learners.nnaqc import Nnaqc
from crowdml.learning.learners.noise_layer import WithTransition
from crowdml.learning.likelihood import label_nll, log_probabilities
from crowdml.learning.supervision import Supervision, supervise
from crowdml.learning.task import Task
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs(n_items=80, n_classes=4)
LABELS = np.random.default_rng(0).integers(0, 4, 40)
ONE_WORKER = CrowdLabels.from_dense(LABELS[:, None].astype(np.int32), n_classes=4)


def loss_and_gradient(learner: Learner, task: Task, given: Supervision) -> tuple[Tensor, Tensor]:
    """The loss of the whole data set under the first weights of seed 0, and its gradient in the network."""
    torch.manual_seed(0)
    model = learner.build(task, given).train()
    items = torch.arange(40)
    ((inputs,),) = task.inputs.batches([items])
    loss = torch.stack(list(learner.loss(model, Batch((inputs,), items, given, 0, 1)).values())).sum()
    loss.backward()
    network = getattr(model, "network", model)
    return loss.detach(), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_a_crowd_layer_with_one_worker_is_nnaqcs_noise_model() -> None:
    task = make(DATA)
    crowd_layer = loss_and_gradient(CrowdLayer(form="MW"), task, supervise(LABELS, 4, crowd=ONE_WORKER))
    noise_model = loss_and_gradient(Nnaqc(alpha=1.0, kappa=1.0), task, supervise(LABELS, 4))
    for ours, theirs in zip(crowd_layer, noise_model, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_forward_correction_with_the_true_matrix_is_the_genie_and_a_frozen_s_model() -> None:
    task = make(DATA)
    given = supervise(LABELS, 4)
    assert task.truth is not None
    genie = Genie()
    torch.manual_seed(0)
    model = genie.build(task, given)
    assert isinstance(model, WithTransition)
    inputs = next(iter(task.inputs.batches([torch.arange(40)])))[0]
    batch = Batch((inputs,), torch.arange(40), given, 0, 1)
    told = sum(genie.loss(model, batch).values())
    corrected = sum(ForwardCorrection().loss(model, batch).values())
    frozen = label_nll(log_probabilities(model(inputs)), model.transition.log(), given.labels)
    torch.testing.assert_close(told, corrected)
    torch.testing.assert_close(corrected, frozen)


@pytest.mark.parametrize("volume", ["F", "W"])
def test_geocrowdnet_without_weight_is_ccem(volume) -> None:
    task = make(DATA)
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((40, 3)) < 0.7, rng.integers(0, 4, (40, 3)), -1).astype(np.int32)
    dense[0, 0] = 1
    given = supervise(LABELS, 4, crowd=CrowdLabels.from_dense(dense, n_classes=4))
    plain = loss_and_gradient(Ccem(), task, given)
    weightless = loss_and_gradient(GeoCrowdNet(volume=volume, weight=0.0), task, given)
    for ours, theirs in zip(weightless, plain, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_reach_the_network_of_every_one_of_them() -> None:
    task = make(DATA, network=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)))
    for learner, given in (
        (CrowdLayer(), supervise(LABELS, 4, crowd=ONE_WORKER)),
        (Nnaqc(), supervise(LABELS, 4)),
        (Genie(), supervise(LABELS, 4)),
    ):
        assert loss_and_gradient(learner, task, given)[1].abs().sum() > 0
