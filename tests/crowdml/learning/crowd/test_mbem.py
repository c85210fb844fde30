from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from crowdml.aggregation.aggregator import vote_shares
from crowdml.joint.end_to_end import EndToEnd
from crowdml.labels import CrowdLabels
from crowdml.learning.crowd.mbem import Mbem, NetworkWithMatrices, posterior_of
from crowdml.learning.supervision import supervise
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.crowd.cases import DATA, batch_of, given_of, task_of

# Worker 0 says 0, 0, 1 of the three items, worker 1 says 0, 1 and nothing.
GIVEN = given_of([[0, 0], [0, 1], [1, -1]], 2)
EVERY = torch.arange(3)
PREDICTED = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])


def test_one_round_by_hand() -> None:
    # The predictions are 0, 0, 1.  With 1 added to every count worker 0 has (3, 1; 1, 2) / row sums,
    # worker 1 (2, 2; 1, 1) / row sums, and the classes 2/3 and 1/3.
    confusion, prior = Mbem(smoothing=1.0).estimate(GIVEN, EVERY, PREDICTED)
    assert torch.allclose(confusion, torch.tensor([[[0.75, 0.25], [1 / 3, 2 / 3]], [[0.5, 0.5], [0.5, 0.5]]]))
    assert torch.allclose(prior, torch.tensor([2 / 3, 1 / 3]))
    posterior = posterior_of(GIVEN, EVERY, confusion, prior)
    # Items 0 and 1: 2/3 * 3/4 to 1/3 * 1/3 by worker 0, worker 1 tells nothing; item 2: 2/3 * 1/4 to 1/3 * 2/3.
    assert torch.allclose(posterior[:, 0], torch.tensor([9 / 11, 9 / 11, 3 / 7]))
    assert torch.allclose(posterior.sum(dim=1), torch.ones(3))


def test_soft_predictions_count_in_part() -> None:
    confusion, prior = Mbem(hard=False).estimate(GIVEN, EVERY, PREDICTED)
    assert torch.allclose(confusion[0], torch.tensor([[1.4 / 1.5, 0.1 / 1.5], [0.6 / 1.5, 0.9 / 1.5]]))
    assert torch.allclose(prior, torch.tensor([0.5, 0.5]))


def test_a_class_that_a_worker_never_met_says_nothing_of_him() -> None:
    confusion, _ = Mbem().estimate(GIVEN, EVERY, PREDICTED)
    assert torch.allclose(confusion[1, 1], torch.tensor([0.5, 0.5]))


def test_an_item_without_annotations_has_the_prior() -> None:
    supervision = given_of([[0], [-1]], 2)
    prior = torch.tensor([0.3, 0.7])
    posterior = posterior_of(supervision, torch.arange(2), torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]), prior)
    assert torch.allclose(posterior, torch.tensor([[0.27 / 0.41, 0.14 / 0.41], [0.3, 0.7]]))


def test_the_loss_weighs_each_class_by_the_posterior() -> None:
    supervision = supervise(np.array([[0.7, 0.3]]), 2)
    loss = Mbem().loss(nn.Identity(), batch_of(supervision, torch.tensor([[0.2, 0.8]]).log()))
    assert float(loss["cross_entropy"]) == pytest.approx(-0.7 * np.log(0.2) - 0.3 * np.log(0.8))


def spammers(seed: int = 0) -> CrowdLabels:
    """DATA's items, each labelled by two of ten workers: three who are right, seven who guess."""
    rng = np.random.default_rng(seed)
    truth = DATA.train_labels
    guesses = rng.integers(4, size=(len(truth), 10))
    dense = np.where(np.arange(10) < 3, truth[:, None], guesses)
    asked = rng.permuted(np.tile(np.arange(10), (len(truth), 1)), axis=1) < 2
    return CrowdLabels.from_dense(np.where(asked, dense, -1), n_classes=4)


@pytest.mark.parametrize("rounds", [1, 2])
def test_every_round_trains_a_fresh_network_on_a_better_posterior(rounds: int) -> None:
    crowd = spammers()
    trainer = Trainer(task_of(epochs=5))
    learner = Mbem(rounds=rounds)
    model = trainer.learn(learner, supervise(vote_shares(crowd), 4, crowd=crowd))
    assert trainer.n_trainings == rounds + 1
    confusion = learner.confusion(model)
    assert (confusion[:3].diagonal(dim1=1, dim2=2) > 0.9).all()
    assert (confusion[3:].diagonal(dim1=1, dim2=2) < 0.7).all()


def test_it_finds_the_truth_among_spammers() -> None:
    crowd = spammers()
    of_votes = (vote_shares(crowd).argmax(axis=1) == DATA.train_labels).mean()
    result = EndToEnd(learner=Mbem()).fit(crowd, task_of(epochs=5)).aggregation
    assert of_votes < 0.7
    assert (result.labels == DATA.train_labels).mean() > 0.97


def test_only_the_named_items_are_learned_from() -> None:
    crowd = spammers()
    items = torch.arange(100)
    wrong = crowd.to_dense()
    wrong[100:] = np.where(wrong[100:] >= 0, 0, -1)
    models = [
        Trainer(task_of(epochs=2)).learn(Mbem(), given_of(dense, 4), items=items) for dense in (crowd.to_dense(), wrong)
    ]
    for mine, other in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert torch.equal(mine, other)


def test_it_goes_on_from_a_model_of_its_own() -> None:
    supervision = given_of(spammers().to_dense(), 4)
    first = Trainer(task_of(epochs=2)).learn(Mbem(), supervision)
    again = Trainer(task_of(epochs=1)).learn(Mbem(), supervision, model=first)
    assert isinstance(again, NetworkWithMatrices)
    assert not isinstance(again.network, NetworkWithMatrices)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rounds": 0}, "rounds must be at least 1, got 0"), ({"smoothing": 0.0}, "smoothing must be above 0, got 0.0")],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mbem(**options)
