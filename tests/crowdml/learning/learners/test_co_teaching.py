from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from crowdml import methods
from crowdml.learning.evaluate import predict_members
from crowdml.learning.learner import LabelLearner
from crowdml.learning.learners.co_teaching import CoTeaching, CoTeachingPlus, Decoupling, disagree
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.loop import train
from crowdml.learning.supervision import supervise
from tests.crowdml.learning.learners.several import Given, batch_of, flipped, random_logits, terms_of, total
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs()
# Probabilities of class 0 of two networks for four items, all labelled 0.  They disagree about items 1 and 2.
FIRST, SECOND = [0.9, 0.8, 0.3, 0.2], [0.6, 0.1, 0.7, 0.4]


def logits_of(*right: list[float]) -> Tensor:
    p = torch.tensor(right, dtype=torch.float64)
    return torch.stack([p, 1 - p], dim=2).log()


def values(terms: dict[str, Tensor]) -> list[float]:
    return [float(terms["cross_entropy_1"]), float(terms["cross_entropy_2"])]


def minus_log(*p: float) -> float:
    return -sum(map(math.log, p)) / len(p)


def test_each_network_learns_from_what_the_other_chose() -> None:
    # The first finds items 0 and 1 easy, the second 0 and 2: the first trains on 0 and 2, the second on 0 and 1.
    learner = CoTeaching(forget_rate=0.5, n_gradual=1)
    terms = terms_of(learner, logits_of(FIRST, SECOND), [0] * 4, epoch=1)
    assert values(terms) == pytest.approx([minus_log(0.9, 0.3), minus_log(0.6, 0.1)])


def test_nothing_is_left_out_in_the_first_epoch() -> None:
    terms = terms_of(CoTeaching(forget_rate=0.5), logits_of(FIRST, SECOND), [0] * 4)
    assert values(terms) == pytest.approx([minus_log(*FIRST), minus_log(*SECOND)])


def test_plus_chooses_among_the_items_of_disagreement_after_the_warm_up() -> None:
    learner = CoTeachingPlus(forget_rate=0.5, n_gradual=1, n_warm_up=2)
    logits = logits_of(FIRST, SECOND)
    before = terms_of(learner, logits, [0] * 4, epoch=1)
    assert values(before) == pytest.approx([minus_log(0.9, 0.3), minus_log(0.6, 0.1)])
    # Of items 1 and 2 the first finds 1 easier, the second 2.
    after = terms_of(learner, logits, [0] * 4, epoch=2)
    assert values(after) == pytest.approx([minus_log(0.3), minus_log(0.1)])


def test_decoupling_trains_both_where_they_disagree() -> None:
    terms = terms_of(Decoupling(), logits_of(FIRST, SECOND), [0] * 4)
    assert values(terms) == pytest.approx([minus_log(0.8, 0.3), minus_log(0.1, 0.7)])


@pytest.mark.parametrize("learner", [CoTeachingPlus(n_warm_up=0), Decoupling()])
def test_networks_that_agree_about_all_items_are_left_as_they_are(learner: LabelLearner) -> None:
    logits = logits_of(FIRST, FIRST).requires_grad_()
    loss = total(terms_of(learner, logits, [0] * 4))
    assert float(loss.detach()) == 0
    assert not torch.autograd.grad(loss, logits)[0].any()


@pytest.mark.parametrize("learner", [CoTeaching(), CoTeachingPlus(n_warm_up=0), Decoupling()])
def test_held_out_items_all_count(learner: LabelLearner) -> None:
    model = Given(logits_of(FIRST, SECOND)).eval()
    terms = learner.loss(model, batch_of([0] * 4, 2, epoch=50))
    assert values(terms) == pytest.approx([minus_log(*FIRST), minus_log(*SECOND)])


@given(st.sampled_from([CoTeaching, CoTeachingPlus, Decoupling]), st.permutations(range(3)), st.integers(0, 100))
def test_exchanging_the_networks_or_the_classes_exchanges_the_answers(kind: type, order, seed: int) -> None:
    learner = kind() if kind is Decoupling else kind(forget_rate=0.4, n_gradual=1)
    logits, labels = random_logits(2, seed=seed), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    expected = values(terms_of(learner, logits, labels, epoch=30))
    assert values(terms_of(learner, logits.flip(0), labels, epoch=30)) == pytest.approx(expected[::-1])
    renamed = torch.empty_like(logits)
    renamed[:, :, list(order)] = logits
    assert values(terms_of(learner, renamed, torch.tensor(order)[labels], epoch=30)) == pytest.approx(expected)


@pytest.mark.parametrize("learner", [CoTeaching(n_gradual=1), CoTeachingPlus(n_warm_up=0), Decoupling()])
def test_gradients(learner: LabelLearner) -> None:
    logits = random_logits(2, n=5).requires_grad_()
    assert disagree(logits).any()
    assert torch.autograd.gradcheck(lambda x: total(terms_of(learner, x, [0, 1, 2, 0, 1], epoch=1)), logits)


def test_a_posterior_gives_the_expected_loss() -> None:
    logits = random_logits(2, n=3)
    posterior = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.0, 0.8], [0.0, 0.0, 1.0]])
    batch = batch_of(supervise(posterior, 3), 3)
    terms = CoTeaching(target="posterior", forget_rate=0.0).loss(Given(logits), batch)
    expected = -(posterior * logits.log_softmax(2)).sum(2).mean(1)
    assert values(terms) == pytest.approx(expected.tolist())


def test_co_teaching_learns_what_noise_hides_from_plain_cross_entropy() -> None:
    noisy = supervise(flipped(DATA.train_labels, 0.4, 3), 3)
    task = make(DATA, network=wide_network, epochs=40, optimizer="adam", lr=3e-3)
    truth = torch.from_numpy(DATA.test_labels)

    def accuracy(learner: LabelLearner) -> float:
        model = train(learner, task, noisy, evaluate=False).model
        assert task.test_inputs is not None
        return float((predict_members(model, task, task.test_inputs).argmax(2) == truth).float().mean())

    assert accuracy(CoTeaching(forget_rate=0.4, n_gradual=5)) > accuracy(CrossEntropy()) + 0.1


@pytest.mark.parametrize("learner", [CoTeachingPlus(forget_rate=0.2, n_warm_up=1), Decoupling()])
def test_the_others_learn_clean_blobs(learner: LabelLearner) -> None:
    # With labels free of noise, and more epochs than one: both reach what the blobs allow.
    task = make(DATA, network=wide_network, epochs=8, optimizer="adam", lr=1e-3)
    model = train(learner, task, supervise(DATA.train_labels, 3), evaluate=False).model
    assert task.test_inputs is not None
    right = predict_members(model, task, task.test_inputs).argmax(2) == torch.from_numpy(DATA.test_labels)
    assert float(right.float().mean()) > 0.9


def wide_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 3))


@pytest.mark.parametrize(
    ("name", "learner"),
    [("co_teaching", CoTeaching()), ("co_teaching_plus", CoTeachingPlus()), ("decoupling", Decoupling())],
)
def test_registry(name: str, learner: LabelLearner) -> None:
    assert methods.resolve(name).learner == learner


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match="n_warm_up must not be negative, got -1"):
        CoTeachingPlus(n_warm_up=-1)
