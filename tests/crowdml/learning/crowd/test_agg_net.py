from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from crowdml.aggregation.dawid_skene import DawidSkene
from crowdml.learning.batch import Epoch
from crowdml.learning.crowd.agg_net import AggNet, CountedBy, infer
from crowdml.learning.inputs import InMemory
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.crowd.cases import DATA, accuracy_and_error, batch_of, given_of, hard_crowd, task_of
from tests.crowdml.learning.tasks import Fixed


def test_the_e_step_by_hand() -> None:
    # f = (0.6, 0.4); worker 0 says 1, worker 1 says 0.
    given = given_of([[1, 0]], 2)
    confusion = torch.tensor([[[0.8, 0.2], [0.3, 0.7]], [[0.9, 0.1], [0.5, 0.5]]])
    first, second = 0.6 * 0.2 * 0.9, 0.4 * 0.7 * 0.5
    found = infer(torch.tensor([[0.6, 0.4]]), confusion, given.crowd.all())
    assert found.tolist() == [pytest.approx([first / (first + second), second / (first + second)])]


def test_a_network_that_rules_a_class_out_gives_finite_posteriors() -> None:
    given = given_of([[1]], 2)
    found = infer(torch.tensor([[1.0, 0.0]]), torch.full((1, 2, 2), 0.5), given.crowd.all())
    assert found.tolist() == [pytest.approx([1, 0])]


@pytest.mark.parametrize(("counted_by", "expected"), [("posterior", 0.3 / 1.3), ("network", 0.5)])
def test_the_m_step_by_hand(counted_by: CountedBy, expected: float) -> None:
    # One worker, two items labelled 0 and 1, f even; what EM counts by is the posterior under the old matrix.
    learner, given = AggNet(smoothing=1e-9, counted_by=counted_by), given_of([[0], [1]], 2)
    task = replace(task_of(), inputs=_first_items(2), n_classes=2, build_network=lambda: Fixed([0.5, 0.5]))
    model = learner.build(task, given)
    old = torch.tensor([[[0.3, 0.7], [0.6, 0.4]]])
    model.get_buffer("confusion").copy_(old)
    learner.begin_epoch(model, task, given, Epoch(1, 2, torch.arange(2)))
    says_0, says_1 = 0.3 / 0.9, 0.7 / 1.1
    of_posterior = says_0 / (says_0 + says_1)
    found = float(learner.confusion(model)[0, 0, 0])
    assert found == pytest.approx(of_posterior if counted_by == "posterior" else expected, rel=1e-5)
    assert model.get_buffer("posterior")[:, 0].tolist() == pytest.approx([says_0, says_1])


def _first_items(n_items: int) -> InMemory:
    inputs = task_of().inputs
    assert isinstance(inputs, InMemory)
    return InMemory(inputs.values[:n_items], torch.ones(1), torch.zeros(1))


def test_with_a_network_that_knows_nothing_it_is_dawid_skene_with_an_even_prior() -> None:
    crowd, _ = hard_crowd()
    learner, task = AggNet(), task_of()
    given = given_of(crowd.to_dense(), 4)
    model = learner.build(replace(task, build_network=lambda: Fixed([0.25] * 4)), given)
    for number in range(41):
        learner.begin_epoch(model, task, given, Epoch(number, 41, torch.arange(task.n_items)))
    expected = DawidSkene(class_prior="uniform", max_iter=40, tol=0).fit(crowd)
    assert np.allclose(learner.confusion(model), expected.confusion, atol=1e-4)
    assert np.allclose(model.get_buffer("posterior"), expected.posterior, atol=1e-4)


def test_the_first_epoch_trains_on_the_vote_shares_and_held_out_items_are_not_counted() -> None:
    learner, given = AggNet(), given_of([[0, 1], [1, 1], [0, 0]], 2)
    task = replace(task_of(), inputs=_first_items(3), n_classes=2, build_network=nn.Identity)
    model = learner.build(task, given)
    learner.begin_epoch(model, task, given, Epoch(0, 1, torch.tensor([2])))
    assert torch.equal(model.get_buffer("posterior"), given.posterior)
    assert learner.confusion(model)[0].tolist() == [pytest.approx([1.01 / 1.02, 0.01 / 1.02]), [0.5, 0.5]]
    logits = torch.tensor([[1.0, 2.0], [0.0, 3.0], [1.0, -1.0]])
    loss = learner.loss(model, batch_of(given, logits))["cross_entropy"]
    assert float(loss) == pytest.approx(float(-(given.posterior * logits.log_softmax(1)).sum(1).mean()))


def test_it_finds_the_workers_that_the_majority_hides() -> None:
    right, distance = accuracy_and_error(AggNet(), epochs=10)
    assert right > 0.97
    assert distance < 0.1


def test_going_on_from_a_model_keeps_what_it_had_inferred() -> None:
    crowd, _ = hard_crowd()
    trainer, given = Trainer(task_of(epochs=3)), given_of(crowd.to_dense(), 4)
    model = trainer.learn(AggNet(), given)
    before = model.get_buffer("posterior").clone()
    AggNet().begin_epoch(model, trainer.task, given, Epoch(0, 1, torch.arange(len(DATA.train_labels))))
    assert torch.equal(model.get_buffer("posterior"), before)
    assert not torch.allclose(before, given.posterior)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"smoothing": 0.0}, "smoothing must be above 0, got 0.0"),
        ({"counted_by": "votes"}, "counted_by must be"),
    ],
)
def test_bad_settings_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AggNet(**wrong)
