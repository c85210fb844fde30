from __future__ import annotations

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crowdml.labels import CrowdLabels
from crowdml.learning.crowd.conal import Conal, mix
from crowdml.learning.inputs import InMemory
from crowdml.learning.supervision import Supervision
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.crowd.cases import (
    accuracy_and_error,
    batch_of,
    given_of,
    hard_crowd,
    random_labels,
    random_probabilities,
    task_of,
)


def model_of(learner: Conal, supervision: Supervision, f: torch.Tensor) -> nn.Module:
    """A model whose network is given the logarithms of f (n_items, n_classes) and returns them."""
    inputs = InMemory(f.log().float(), torch.ones(1), torch.zeros(1))
    task = replace(task_of(), inputs=inputs, n_classes=f.shape[1], build_network=nn.Identity)
    return learner.build(task, supervision).to(f.dtype)


def test_the_mixture_by_hand() -> None:
    f, omega = torch.tensor([[0.7, 0.3]]), torch.tensor([0.25])
    common, own = torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor([[[0.0, 4.0], [2.0, 2.0]]])
    by_common = [0.7 * 2 + 0.3 * 1, 0.7 * 0 + 0.3 * 3]
    by_own = [0.7 * 0 + 0.3 * 2, 0.7 * 4 + 0.3 * 2]
    expected = [0.25 * first + 0.75 * second for first, second in zip(by_common, by_own, strict=True)]
    assert mix(f, omega, common, own).tolist() == [pytest.approx(expected)]


def test_the_loss_by_hand() -> None:
    # All matrices are twice the identity at the start: whatever omega, label l has the logit 2 f_l.
    f = torch.tensor([[0.7, 0.3], [0.2, 0.8]], dtype=torch.float64)
    supervision = given_of([[0, 1], [1, -1]], 2)
    model = model_of(Conal(difference=0.1), supervision, f)
    batch = batch_of(supervision, f.log())
    says = [1 / (1 + exp(-2 * 0.4)), 1 / (1 + exp(2 * 0.4)), 1 / (1 + exp(-2 * 0.6))]
    terms = Conal(difference=0.1).loss(model, batch)
    assert float(terms["annotations"].detach()) == pytest.approx(-sum(map(log, says)) / 3, rel=1e-6)
    assert float(terms["difference"].detach()) == 0
    # One worker's matrix moved by 3 and 4 in two cells is 5 away.
    with torch.no_grad():
        model.get_parameter("own")[1] += torch.tensor([[3.0, 0.0], [0.0, -4.0]])
    assert float(Conal(difference=0.1).loss(model, batch)["difference"].detach()) == pytest.approx(-0.5)


def test_matrices_that_are_alike_have_a_finite_gradient() -> None:
    f = random_probabilities(4, 3, 0)
    supervision = given_of(random_labels(4, 2, 3, 0), 3)
    model = model_of(Conal(difference=1.0), supervision, f)
    torch.stack(list(Conal(difference=1.0).loss(model, batch_of(supervision, f.log())).values())).sum().backward()
    gradient = model.get_parameter("own").grad
    assert gradient is not None
    assert gradient.isfinite().all()


def test_omega_is_the_sigmoid_of_a_cosine() -> None:
    f = random_probabilities(5, 3, 0)
    model = model_of(Conal(embedding=2), given_of(random_labels(5, 4, 3, 0), 3), f)
    with torch.no_grad():
        of_item = model.get_submodule("of_item")(f.log()).numpy()
        of_worker = (model.get_parameter("of_worker.weight").T + model.get_parameter("of_worker.bias")).numpy()
        omega = model.omega(f.log()).numpy()  # pyright: ignore[reportCallIssue]
    cosine = of_item @ of_worker.T / np.outer(np.linalg.norm(of_item, axis=1), np.linalg.norm(of_worker, axis=1))
    assert omega == pytest.approx(1 / (1 + np.exp(-cosine)))


def test_the_gradient_of_the_mixture() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (4,), (3, 3), (4, 3, 3))
    parts = [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]
    assert torch.autograd.gradcheck(lambda f, *rest: mix(f.softmax(1), *rest), parts)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_classes_and_workers_in_another_order_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, workers = rng.permutation(3), rng.permutation(4)
    dense, f = random_labels(6, 4, 3, seed), random_probabilities(6, 3, seed)
    dense[0] = 0
    renamed = np.where(dense >= 0, classes[dense], -1)[:, workers]
    learner, back = Conal(), np.argsort(classes)
    first, second = given_of(dense, 3), given_of(renamed, 3)
    model, permuted = model_of(learner, first, f), model_of(learner, second, f)
    with torch.no_grad():
        nn.init.normal_(model.get_parameter("own"))
        nn.init.normal_(model.get_parameter("common"))
        permuted.get_parameter("own").copy_(model.get_parameter("own")[workers][:, back][:, :, back])
        permuted.get_parameter("common").copy_(model.get_parameter("common")[back][:, back])
        permuted.load_state_dict({**model.state_dict(), **_parts(permuted, "own", "common")})
        permuted.get_parameter("of_worker.weight").copy_(model.get_parameter("of_worker.weight")[:, workers])
        permuted.get_parameter("of_item.1.weight").copy_(model.get_parameter("of_item.1.weight")[:, back])
    ours = learner.loss(model, batch_of(first, f.log()))
    theirs = learner.loss(permuted, batch_of(second, f[:, back].log()))
    for name, term in ours.items():
        assert float(term.detach()) == pytest.approx(float(theirs[name].detach()), rel=1e-9)
    confusion = learner.confusion(model)
    assert torch.allclose(learner.confusion(permuted)[:, classes][:, :, classes], confusion[workers])
    assert torch.allclose(confusion.sum(dim=2), torch.ones(4, 3, dtype=torch.float64))


def _parts(model: nn.Module, *names: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if name in names}


def test_the_confusion_takes_the_mean_omega_of_the_items_trained_on() -> None:
    crowd, _ = hard_crowd()
    trainer, items = Trainer(task_of(epochs=2)), torch.arange(100)
    model = trainer.learn(Conal(), given_of(crowd.to_dense(), 4), items=items)
    (inputs,) = next(iter(trainer.task.inputs.batches([items])))
    with torch.no_grad():
        omega = model.omega(inputs).mean(dim=0)  # pyright: ignore[reportCallIssue]
        own, common = model.get_parameter("own")[2], model.get_parameter("common")
        expected = (omega[2] * common + (1 - omega[2]) * own).softmax(dim=1)
        assert torch.allclose(Conal().confusion(model)[2], expected, atol=1e-6)


def test_it_finds_the_labels_that_the_majority_misses() -> None:
    right, distance = accuracy_and_error(Conal(), epochs=10)
    assert right > 0.95
    assert distance < 0.15


def test_an_item_without_annotations_changes_nothing() -> None:
    f = random_probabilities(3, 2, 0)
    alone, empty = given_of([[0], [1], [0]], 2), given_of([[0], [1], [-1]], 2)
    model = model_of(Conal(), alone, f)
    two = Conal().loss(model, replace(batch_of(alone, f[:2].log()), items=torch.arange(2)))
    three = Conal().loss(model, batch_of(empty, f.log()))
    assert float(two["annotations"].detach()) == pytest.approx(float(three["annotations"].detach()))
    none = CrowdLabels.from_dense([[0], [-1], [-1]], n_classes=2)
    only_empty = replace(batch_of(given_of(none.to_dense(), 2), f[1:].log()), items=torch.tensor([1, 2]))
    assert float(Conal().loss(model, only_empty)["annotations"].detach()) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"difference": -1.0}, "difference must not be negative, got -1.0"),
        ({"embedding": 0}, "embedding must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Conal(**wrong)
