from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from crowdml import methods
from crowdml.learning.batch import Batch, Epoch
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.learner import LabelLearner
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.divide_mix import Divided, DivideMix, clean_probability, mix_match, sharpen
from crowdml.learning.loop import train
from crowdml.learning.supervision import supervise
from tests.crowdml.learning.learners.several import flipped
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs()
GIVEN = supervise(DATA.train_labels, 3)


def small_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def batch_of_blobs(epoch: int, n: int = 12) -> Batch:
    task = make(DATA)
    views = next(iter(task.inputs.batches([torch.arange(n)], views=2)))
    return Batch(views, torch.arange(n), GIVEN, epoch, n_epochs=50)


def linear_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def model_of_blobs(network: Callable[[], nn.Module] = small_network) -> Divided:
    torch.manual_seed(0)
    return DivideMix().build(make(DATA, network=network), GIVEN)


def naive_mix_match(network: nn.Module, x: Tensor, target: Tensor, labelled: Tensor, share: float, order: list[int]):
    """The terms of MixMatch item by item."""
    n, n_classes = target.shape
    cross_entropy, square, mean = [], [], [0.0] * n_classes
    for i, j in enumerate(order):
        p = network(share * x[i : i + 1] + (1 - share) * x[j : j + 1]).softmax(dim=1)[0].tolist()
        wanted = [share * float(target[i, c]) + (1 - share) * float(target[j, c]) for c in range(n_classes)]
        if labelled[i]:
            cross_entropy.append(-sum(wanted[c] * math.log(p[c]) for c in range(n_classes)))
        else:
            square.append(sum((p[c] - wanted[c]) ** 2 for c in range(n_classes)) / n_classes)
        mean = [mean[c] + p[c] / n for c in range(n_classes)]
    balance = sum(math.log(1 / n_classes / m) / n_classes for m in mean)
    return [sum(part) / max(1, len(part)) for part in (cross_entropy, square)] + [balance]


@pytest.mark.parametrize("n_labelled", [0, 3, 8])
def test_mix_match_is_the_naive_one(n_labelled: int) -> None:
    torch.manual_seed(0)
    network, x = nn.Linear(4, 3).double(), torch.randn(8, 4).double()
    target, labelled = torch.rand(8, 3).double().softmax(dim=1), torch.arange(8) < n_labelled
    torch.manual_seed(7)
    found = mix_match(network, x, target, labelled, alpha=4.0)
    torch.manual_seed(7)
    drawn = float(torch.distributions.Beta(torch.tensor(4.0), torch.tensor(4.0)).sample())
    order = torch.randperm(8).tolist()
    assert 0.5 < max(drawn, 1 - drawn) < 1
    assert found.tolist() == pytest.approx(naive_mix_match(network, x, target, labelled, max(drawn, 1 - drawn), order))


def test_mix_match_gradients() -> None:
    torch.manual_seed(0)
    x, target = torch.randn(6, 4).double(), torch.rand(6, 3).double().softmax(dim=1)
    network = nn.Linear(4, 3, bias=False).double()

    def loss(weight: Tensor) -> Tensor:
        torch.manual_seed(3)

        def by_weight(mixed: Tensor) -> Tensor:
            return nn.functional.linear(mixed, weight)

        return mix_match(by_weight, x, target, torch.arange(6) < 3, alpha=4.0)  # pyright: ignore[reportArgumentType]

    assert torch.autograd.gradcheck(loss, network.weight)


def test_sharpening_by_hand() -> None:
    # Squares of 0.6 and 0.4: 0.36 and 0.16 of 0.52.
    assert sharpen(torch.tensor([0.6, 0.4]), 0.5).tolist() == pytest.approx([9 / 13, 4 / 13])
    assert sharpen(torch.tensor([0.0, 1.0]), 0.5).tolist() == [0, 1]
    many = sharpen(torch.full((1000,), 1e-3), 0.05)
    assert many.tolist() == pytest.approx([1e-3] * 1000)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), st.floats(0.1, 1))
def test_sharpening_gives_distributions_in_the_same_order(parts: list[float], temperature: float) -> None:
    p = torch.tensor(parts, dtype=torch.float64)
    p = p / p.sum()
    sharp = sharpen(p, temperature)
    assert float(sharp.sum()) == pytest.approx(1)
    assert float(sharp.max()) >= float(p.max()) - 1e-12
    assert torch.equal(sharp[p.argsort()], sharp[p.argsort()].sort().values)


def test_targets_by_hand() -> None:
    # Item 0 is likely right (0.8): 0.8 * label + 0.2 * own = (0.9, 0.1).  Item 1 is not (0.4): the mean of both
    # networks, (0.4, 0.6).  Sharpened at 1/2: squares over their sum.
    own, other = torch.tensor([[0.5, 0.5], [0.2, 0.8]]), torch.tensor([[0.1, 0.9], [0.6, 0.4]])
    batch = Batch((torch.zeros(2, 1),) * 2, torch.tensor([2, 0]), supervise(torch.tensor([0, 1, 0]), 2), 20, 50)
    target, labelled = DivideMix().targets(own, other, torch.tensor([0.4, 0.0, 0.8]), batch)
    assert labelled.tolist() == [True, False]
    assert target[0].tolist() == pytest.approx([0.81 / 0.82, 0.01 / 0.82])
    assert target[1].tolist() == pytest.approx([0.16 / 0.52, 0.36 / 0.52])


def test_targets_refine_a_posterior() -> None:
    posterior = torch.tensor([[0.7, 0.3]])
    batch = Batch((torch.zeros(1, 1),) * 2, torch.tensor([0]), supervise(posterior, 2), 20, 50)
    learner = DivideMix(target="posterior", temperature=1.0)
    target, _ = learner.targets(torch.tensor([[0.1, 0.9]]), torch.tensor([[0.5, 0.5]]), torch.tensor([0.75]), batch)
    assert target[0].tolist() == pytest.approx([0.75 * 0.7 + 0.25 * 0.1, 0.75 * 0.3 + 0.25 * 0.9])


def test_the_weight_of_unlabelled_items_grows_after_the_warm_up() -> None:
    learner = DivideMix(lambda_u=8.0, n_warm_up=2, n_ramp=4)
    assert [learner.weight(epoch) for epoch in range(1, 8)] == pytest.approx([0, 1, 3, 5, 7, 8, 8])


def test_the_mixture_tells_small_losses_from_great_ones() -> None:
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.normal(0.5, 0.2, 700), rng.normal(2.0, 0.4, 300)])
    found = clean_probability(torch.from_numpy(losses))
    density = [w / s * np.exp(-(((losses - m) / s) ** 2) / 2) for w, m, s in ((0.7, 0.5, 0.2), (0.3, 2.0, 0.4))]
    between = (losses > 0.3) & (losses < 2.5)  # further out the wider of the two normals takes over
    assert np.abs(found.numpy() - density[0] / (density[0] + density[1]))[between].mean() < 0.02
    assert found.numpy()[losses < 0.9].min() > 0.9
    # Neither the scale nor the place of the losses says anything.
    torch.manual_seed(1)
    again = clean_probability(torch.from_numpy(3 * losses + 5))
    torch.testing.assert_close(again, found, atol=1e-3, rtol=0)


def test_networks_judge_only_the_items_that_are_trained_on_and_only_after_the_warm_up() -> None:
    learner, task = DivideMix(n_warm_up=3), make(DATA, network=small_network)
    model = model_of_blobs()
    wrong = DATA.train_labels.copy()
    wrong[:30] = (wrong[:30] + 1) % 3
    items = torch.arange(100)
    learner.begin_epoch(model, task, supervise(wrong, 3), Epoch(2, 10, items))
    assert (model.clean == 1).all()
    train(CrossEntropy(), make(DATA, network=small_network, epochs=10), GIVEN, model=model)
    learner.begin_epoch(model, task, supervise(wrong, 3), Epoch(3, 10, items))
    assert (model.clean[:, 100:] == 1).all()
    # Networks that know the truth find the labels out that are wrong.
    assert ((model.clean[:, :100] > 0.5) == (items >= 30)).float().mean() > 0.95


def test_the_warm_up_is_cross_entropy_of_each() -> None:
    model, batch = model_of_blobs(linear_network), batch_of_blobs(epoch=0)
    log_p = [network(batch.inputs).log_softmax(1) for network in model.networks]
    expected = sum(nn.functional.nll_loss(each, batch.labels) for each in log_p)
    assert list(DivideMix().loss(model, batch)) == ["cross_entropy"]
    terms = DivideMix(confidence_penalty=True).loss(model, batch)
    torch.testing.assert_close(terms["cross_entropy"], torch.as_tensor(expected))
    entropy = -sum((each.exp() * each).sum(1).mean() for each in log_p)
    torch.testing.assert_close(terms["negative_entropy"], -torch.as_tensor(entropy))


@pytest.mark.parametrize("epoch", [0, 40])
def test_held_out_items_are_measured_by_cross_entropy(epoch: int) -> None:
    model, batch = model_of_blobs().eval(), batch_of_blobs(epoch)
    expected = sum(nn.functional.cross_entropy(network(batch.inputs), batch.labels) for network in model.networks)
    terms = DivideMix(confidence_penalty=True).loss(model, batch)
    assert list(terms) == ["cross_entropy"]
    torch.testing.assert_close(terms["cross_entropy"], torch.as_tensor(expected))


def test_the_loss_is_the_sum_over_the_networks_each_parted_by_the_other() -> None:
    learner, batch, model = DivideMix(lambda_u=10.0, alpha=4), batch_of_blobs(epoch=50), model_of_blobs(linear_network)
    model.clean[0, :6], model.clean[1, 4:10] = 0.1, 0.2
    torch.manual_seed(5)
    found = learner.loss(model, batch)
    p = [network(batch.inputs).softmax(1).detach() for network in model.networks]
    torch.manual_seed(5)
    expected = torch.zeros(3)
    for own, network in enumerate(model.networks):
        target, labelled = learner.targets(p[own], p[1 - own], model.clean[1 - own], batch)
        assert labelled.nonzero().flatten().tolist() == ([0, 1, 2, 3, 10, 11] if own == 0 else [6, 7, 8, 9, 10, 11])
        views = batch.inputs.repeat(2, 1, 1, 1)
        expected += mix_match(network, views, target.repeat(2, 1), labelled.repeat(2), alpha=4)
    weights = torch.tensor([1.0, 10.0, 1.0])
    assert list(found) == ["labelled", "unlabelled", "balance"]
    torch.testing.assert_close(torch.stack(list(found.values())), weights * expected)


def test_the_other_network_is_asked_as_one_that_does_not_train() -> None:
    model, inputs = model_of_blobs(), torch.cat(batch_of_blobs(0).views)
    _, others = model.predictions(inputs)
    assert all(module.training for module in model.modules())
    expected = [network.eval()(inputs[:12]).softmax(1) for network in reversed(model.networks)]
    torch.testing.assert_close(others, torch.stack(expected).detach())


def test_what_the_networks_think_of_the_labels_is_part_of_their_state() -> None:
    model = model_of_blobs()
    model.clean[0, 3] = 0.25
    again = DivideMix().build(make(DATA, network=small_network), GIVEN)
    again.load_state_dict(model.state_dict())
    assert float(again.clean[0, 3]) == 0.25


def test_it_learns_what_noise_hides_from_plain_cross_entropy() -> None:
    def wide_network() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 3))

    noisy = supervise(flipped(DATA.train_labels, 0.4, 3), 3)
    task = make(DATA, network=wide_network, epochs=30, optimizer="adam", lr=3e-3)
    truth = torch.from_numpy(DATA.test_labels)

    def accuracy(learner: LabelLearner) -> float:
        model = train(learner, task, noisy, evaluate=False).model
        assert task.test_inputs is not None
        return float((predict_proba(model, task, task.test_inputs).argmax(1) == truth).float().mean())

    assert accuracy(DivideMix(n_warm_up=4, lambda_u=5.0)) > max(0.95, accuracy(CrossEntropy()) + 0.1)


def test_the_seed_decides_every_draw() -> None:
    def trained() -> Divided:
        model = train(DivideMix(n_warm_up=1), make(DATA, network=small_network, augment="crop"), GIVEN).model
        assert isinstance(model, Divided)
        return model

    torch.manual_seed(1)
    first = trained()
    torch.manual_seed(2)
    torch.testing.assert_close(trained().state_dict(), first.state_dict(), rtol=0, atol=0)
    assert (first.clean != 1).any()


def test_registry() -> None:
    assert methods.resolve("divide_mix").learner == DivideMix()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_warm_up": -1}, "n_warm_up must not be negative, got -1"),
        ({"threshold": 1.0}, r"threshold must be in \[0, 1\), got 1.0"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"alpha": -1.0}, "alpha must be above 0, got -1.0"),
        ({"lambda_u": -1.0}, "lambda_u must not be negative, got -1.0"),
        ({"n_ramp": 0}, "n_ramp must be at least 1, got 0"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DivideMix(**options)
