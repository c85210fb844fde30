from __future__ import annotations

from math import e, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.learning.crowd.union_net import Transition, UnionNet, Variant, near_identity, union_nll
from tests.crowdml.learning.crowd.cases import (
    accuracy_and_error,
    batch_of,
    given_of,
    predicting,
    random_labels,
    random_probabilities,
)


def test_the_identity_by_hand() -> None:
    assert near_identity(3, 0.3).tolist() == [
        pytest.approx([0.7, 0.15, 0.15]),
        pytest.approx([0.15, 0.7, 0.15]),
        pytest.approx([0.15, 0.15, 0.7]),
    ]


def test_variant_b_by_hand() -> None:
    # Two workers, two classes: a column of theta is (1, 0, 1, 0) or (0, 1, 0, 1), its softmax e or 1 in 2e + 2.
    f = torch.tensor([[0.7, 0.3], [0.2, 0.8]], dtype=torch.float64)
    model, batch = predicting(UnionNet(epsilon=1e-12), given_of([[0, 1], [1, -1]], 2), f)
    on, off = e / (2 * e + 2), 1 / (2 * e + 2)
    says = [0.7 * on + 0.3 * off, 0.7 * off + 0.3 * on, 0.2 * off + 0.8 * on]
    loss = UnionNet().loss(model, batch)["annotations"]
    assert float(loss.detach()) == pytest.approx(-sum(map(log, says)) / 3, rel=1e-6)


def test_variant_a_by_hand() -> None:
    # The scores of the union are f itself, once a worker.
    f = torch.tensor([[0.7, 0.3], [0.2, 0.8]], dtype=torch.float64)
    model, batch = predicting(UnionNet(variant="a", epsilon=1e-12), given_of([[0, 1], [1, -1]], 2), f)
    first, second = 2 * (e**0.7 + e**0.3), 2 * (e**0.2 + e**0.8)
    says = [e**0.7 / first, e**0.3 / first, e**0.8 / second]
    loss = UnionNet(variant="a").loss(model, batch)["annotations"]
    assert float(loss.detach()) == pytest.approx(-sum(map(log, says)) / 3, rel=1e-6)


@pytest.mark.parametrize("variant", ["a", "b"])
def test_it_is_the_cross_entropy_with_the_union_label(variant: Variant) -> None:
    # Equation 6 written out: one vector of all labels an item, one matrix (n_workers * n_classes, n_classes).
    dense, f = random_labels(6, 4, 3, 1), random_probabilities(6, 3, 1)
    supervision, learner = given_of(dense, 3), UnionNet(variant=variant)
    model, batch = predicting(learner, supervision, f)
    theta = torch.nn.init.normal_(model.get_parameter("theta"))
    tall = theta.detach().transpose(1, 2).reshape(12, 3)
    out = (f @ tall.T).softmax(dim=1) if variant == "a" else f @ tall.softmax(dim=0).T
    union = torch.zeros((6, 12), dtype=torch.float64)
    for item, worker in np.argwhere(dense >= 0):
        union[item, worker * 3 + dense[item, worker]] = 1
    expected = -(union * out.log()).sum() / union.sum()
    assert float(learner.loss(model, batch)["annotations"].detach()) == pytest.approx(float(expected), rel=1e-9)
    by_worker = (tall.softmax(dim=0)).reshape(4, 3, 3).transpose(1, 2)
    assert torch.allclose(learner.confusion(model), by_worker / by_worker.sum(dim=2, keepdim=True))


def test_the_gradient() -> None:
    part = given_of(random_labels(4, 3, 3, 0), 3).crowd.all()
    logits = random_probabilities(4, 3, 0).log().requires_grad_()
    theta = torch.randn((3, 3, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda *parts: union_nll(parts[0].softmax(1), parts[1], part), (logits, theta))


@pytest.mark.parametrize(("transition", "learned"), [("identity", True), ("majority", True), ("fixed", False)])
def test_the_transition_starts_where_it_is_told(transition: Transition, learned: bool) -> None:
    supervision = given_of([[0, 0], [1, 1], [0, 1]], 2)
    learner = UnionNet(transition=transition, epsilon=1e-6)
    model, _ = predicting(learner, supervision, random_probabilities(3, 2, 0))
    assert model.get_parameter("theta").requires_grad is learned
    found = learner.confusion(model)[0]
    if transition == "identity":
        assert found[0].tolist() == pytest.approx([e / (e + 1), 1 / (e + 1)], rel=1e-4)
    else:
        # The first worker says 0, 1, 0; the votes are 0, 1 and split.
        assert found[0].tolist() == pytest.approx([1, 0], abs=1e-5)
        assert found[1].tolist() == pytest.approx([0.5 / 1.5, 1 / 1.5], rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["a", "b"]))
def test_classes_and_workers_in_another_order_change_nothing(seed: int, variant: Variant) -> None:
    rng = np.random.default_rng(seed)
    classes, workers = rng.permutation(3), rng.permutation(4)
    dense, f = random_labels(6, 4, 3, seed), random_probabilities(6, 3, seed)
    dense[0] = 0
    renamed = np.where(dense >= 0, classes[dense], -1)[:, workers]
    learner = UnionNet(variant=variant, transition="majority")
    model, batch = predicting(learner, given_of(dense, 3), f)
    permuted, permuted_batch = predicting(learner, given_of(renamed, 3), f[:, np.argsort(classes)])
    ours, theirs = (learner.loss(*pair)["annotations"] for pair in ((model, batch), (permuted, permuted_batch)))
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-4)
    confusion = learner.confusion(permuted)[:, classes][:, :, classes]
    assert torch.allclose(confusion, learner.confusion(model)[workers], atol=1e-5)
    assert torch.allclose(confusion.sum(dim=2), torch.ones(4, 3, dtype=torch.float64))


def test_without_annotations_the_loss_is_zero() -> None:
    supervision = given_of([[0], [-1]], 2)
    for variant in ("a", "b"):
        learner = UnionNet(variant=variant)
        model, _ = predicting(learner, supervision, random_probabilities(2, 2, 0))
        part = batch_of(supervision, random_probabilities(2, 2, 0).log()[1:])
        loss = learner.loss(model, type(part)(part.views, torch.tensor([1]), supervision, 0, 1))["annotations"]
        assert float(loss.detach()) == 0


@pytest.mark.parametrize("variant", ["a", "b"])
def test_it_finds_the_labels_that_the_majority_misses(variant: Variant) -> None:
    right, distance = accuracy_and_error(UnionNet(variant=variant), epochs=10)
    assert right > 0.95
    assert distance < 0.15


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"variant": "c"}, 'variant must be "a" or "b", got \'c\''),
        ({"transition": "free"}, "transition must be one of"),
        ({"epsilon": 0.0}, r"epsilon must be in \(0, 1\), got 0.0"),
    ],
)
def test_bad_settings_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UnionNet(**wrong)
