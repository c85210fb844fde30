from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from crowdml import methods
from crowdml.learning.evaluate import SeveralNetworks, predict_proba
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.several_networks import Divergence, Graph, JoCoR, cross_entropies, graph_shifts
from crowdml.learning.loop import train
from crowdml.learning.observers import Observers
from crowdml.learning.supervision import supervise
from crowdml.learning.trainer import Trainer
from tests.crowdml.learning.learners.several import flipped, random_logits, terms_of, total
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs()
GRAPHS: list[Graph] = ["full", "circular"]
DIVERGENCES: list[Divergence] = ["kl", "ce"]


def wide_network() -> nn.Module:
    """One that can learn wrong labels by heart."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 3))


def edges(graph: Graph, n: int) -> list[tuple[int, int]]:
    return list(itertools.permutations(range(n), 2)) if graph == "full" else [(a, (a + 1) % n) for a in range(n)]


def naive(learner: JoCoR, logits: Tensor, labels: list[int], forget_rate: float) -> float:
    """The joint loss, item by item and class by class."""
    p = logits.softmax(dim=2).tolist()
    n_networks, n, n_classes = logits.shape
    losses = []
    for i in range(n):
        cross_entropy = -sum(math.log(p[k][i][labels[i]]) for k in range(n_networks))
        pairs = edges(learner.graph, n_networks)
        divergence = 0.0
        for a, b in pairs:
            for c in range(n_classes):
                own = math.log(p[a][i][c]) if learner.divergence == "kl" else 0.0
                divergence += p[a][i][c] * (own - math.log(p[b][i][c]))
        losses.append((1 - learner.lambda_) * cross_entropy + learner.lambda_ * divergence / (len(pairs) / n_networks))
    kept = sorted(losses)[: int((1 - forget_rate) * n + 1e-9)]
    return sum(kept) / len(kept)


def test_the_joint_loss_by_hand() -> None:
    # Item 0: p1 = (1/2, 1/2), p2 = (1/4, 3/4), label 0.  CE = ln 2 + ln 4;
    # KL(p1 || p2) = 1/2 ln 2 + 1/2 ln(2/3), KL(p2 || p1) = 1/4 ln(1/2) + 3/4 ln(3/2); their sum is 1/4 ln 3.
    # Item 1: both (1/10, 9/10), label 0: CE = 2 ln 10 and no divergence.
    log_p = torch.tensor([[[0.5, 0.5], [0.1, 0.9]], [[0.25, 0.75], [0.1, 0.9]]]).double().log()
    terms = terms_of(JoCoR(lambda_=0.6, forget_rate=0.0), log_p, [0, 0])
    assert float(terms["cross_entropy"]) == pytest.approx(0.4 * (math.log(8) + math.log(100)) / 2)
    assert float(terms["disagreement"]) == pytest.approx(0.6 * (math.log(3) / 4) / 2)
    # Half of the items: the first has the smaller joint loss, 0.997 against 1.842.
    one = terms_of(JoCoR(lambda_=0.6, forget_rate=0.5, n_gradual=1), log_p, [0, 0], epoch=1)
    assert float(total(one)) == pytest.approx(0.4 * math.log(8) + 0.6 * math.log(3) / 4)


def test_two_networks_give_the_loss_of_the_paper_written_with_torch() -> None:
    first, second = logits = random_logits(2, n=16, n_classes=4)
    labels = torch.arange(16) % 4
    losses = 0.15 * (
        functional.cross_entropy(first, labels, reduction="none")
        + functional.cross_entropy(second, labels, reduction="none")
    )
    for a, b in ((first, second), (second, first)):
        losses = losses + 0.85 * functional.kl_div(a.log_softmax(1), b.softmax(1), reduction="none").sum(1)
    learner = JoCoR(lambda_=0.85, forget_rate=0.25, n_gradual=1)
    terms = terms_of(learner, logits, labels, epoch=3)
    torch.testing.assert_close(total(terms), losses.sort().values[:12].mean())


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("n_networks", [2, 3, 4])
@pytest.mark.parametrize("forget_rate", [0.0, 0.4])
def test_the_joint_loss_is_the_naive_one(graph: Graph, divergence: Divergence, n_networks: int, forget_rate: float):
    learner = JoCoR(n_networks=n_networks, graph=graph, divergence=divergence, forget_rate=forget_rate, n_gradual=1)
    logits, labels = random_logits(n_networks), [0, 1, 2, 0, 1, 2, 0]
    terms = terms_of(learner, logits, labels, epoch=1)
    assert float(total(terms)) == pytest.approx(naive(learner, logits, labels, forget_rate))


@pytest.mark.parametrize(("graph", "n_networks", "n_edges"), [("full", 3, 6), ("circular", 3, 3), ("full", 2, 2)])
def test_edges_of_the_graphs(graph: Graph, n_networks: int, n_edges: int) -> None:
    found = {(a, (a + shift) % n_networks) for shift in graph_shifts(graph, n_networks) for a in range(n_networks)}
    assert found == set(edges(graph, n_networks))
    assert len(found) == n_edges


def test_for_two_networks_the_circle_is_the_full_graph() -> None:
    logits = random_logits(2)
    full, circle = (terms_of(JoCoR(graph=graph), logits, [0] * 7) for graph in GRAPHS)
    torch.testing.assert_close(full, circle)


def test_the_six_divergences_of_equal_networks_in_pairs_are_those_of_two() -> None:
    # With p3 = p2 the pairs 1-2 and 1-3 are alike and 2-3 agree: 2 J(p1, p2) over 6 / 3 edges, J over 2 / 2.
    logits = random_logits(2)
    three = torch.cat([logits, logits[1:]])
    of_two = terms_of(JoCoR(forget_rate=0.0), logits, [0] * 7)["disagreement"]
    of_three = terms_of(JoCoR(n_networks=3, forget_rate=0.0), three, [0] * 7)["disagreement"]
    torch.testing.assert_close(of_three, of_two)


@given(st.permutations(range(3)), st.sampled_from(DIVERGENCES), st.integers(0, 100))
def test_the_order_of_the_networks_and_of_the_classes_changes_nothing(order, divergence: Divergence, seed: int) -> None:
    logits, labels = random_logits(3, seed=seed), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    learner = JoCoR(n_networks=3, divergence=divergence, forget_rate=0.3, n_gradual=1)
    expected = terms_of(learner, logits, labels, epoch=2)
    torch.testing.assert_close(terms_of(learner, logits[list(order)], labels, epoch=2), expected)
    renamed = torch.empty_like(logits)
    renamed[:, :, list(order)] = logits
    torch.testing.assert_close(terms_of(learner, renamed, torch.tensor(order)[labels], epoch=2), expected)


def test_a_circle_of_three_depends_on_its_direction_only() -> None:
    logits, learner = random_logits(3), JoCoR(n_networks=3, graph="circular")
    expected = terms_of(learner, logits, [0] * 7)["disagreement"]
    torch.testing.assert_close(terms_of(learner, logits.roll(1, dims=0), [0] * 7)["disagreement"], expected)
    assert not torch.isclose(terms_of(learner, logits.flip(0), [0] * 7)["disagreement"], expected)


def test_permuting_the_networks_permutes_their_gradients() -> None:
    learner, labels = JoCoR(n_networks=3, forget_rate=0.3, n_gradual=1), [0, 1, 2, 0, 1, 2, 0]

    def gradient(logits: Tensor) -> Tensor:
        return torch.autograd.grad(total(terms_of(learner, logits.requires_grad_(), labels, epoch=1)), logits)[0]

    torch.testing.assert_close(gradient(random_logits(3)[[2, 0, 1]]), gradient(random_logits(3))[[2, 0, 1]])


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_gradients(graph: Graph, divergence: Divergence) -> None:
    learner = JoCoR(n_networks=3, graph=graph, divergence=divergence, forget_rate=0.4, n_gradual=1)
    logits = random_logits(3, n=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: total(terms_of(learner, x, [0, 1, 2, 0], epoch=1)), logits)


def test_a_certain_posterior_is_its_labels_and_others_give_the_expected_loss() -> None:
    log_p = random_logits(2).log_softmax(dim=2)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    torch.testing.assert_close(cross_entropies(log_p, torch.eye(3).double()[labels]), cross_entropies(log_p, labels))
    half = cross_entropies(log_p, torch.tensor([[0.5, 0.5, 0.0]]).double().expand(7, 3))
    each = [cross_entropies(log_p, torch.full((7,), c)) for c in (0, 1)]
    torch.testing.assert_close(half, (each[0] + each[1]) / 2)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_without_agreement_and_selection_it_is_plain_cross_entropy_for_each(optimizer: str) -> None:
    def networks() -> list[nn.Module]:
        torch.manual_seed(0)
        return [make(DATA).build_network() for _ in range(2)]

    noisy = supervise(flipped(DATA.train_labels, 0.3, 3), 3)
    learner, task = JoCoR(lambda_=0.0, forget_rate=0.0), make(DATA, optimizer=optimizer, lr=0.01)
    together = train(learner, task, noisy, model=SeveralNetworks(networks())).model
    alone = [train(CrossEntropy(), task, noisy, model=network).model for network in networks()]
    assert isinstance(together, SeveralNetworks)
    for one, other in zip(together.networks, alone, strict=True):
        for name, weight in one.state_dict().items():
            torch.testing.assert_close(weight, other.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_it_learns_what_noise_hides_from_plain_cross_entropy() -> None:
    noisy = supervise(flipped(DATA.train_labels, 0.4, 3), 3)
    task = make(DATA, network=wide_network, epochs=40, optimizer="adam", lr=3e-3)
    truth = torch.from_numpy(DATA.test_labels)

    def accuracy(learner: CrossEntropy | JoCoR) -> float:
        model = train(learner, task, noisy, evaluate=False).model
        assert task.test_inputs is not None
        return float((predict_proba(model, task, task.test_inputs).argmax(1) == truth).float().mean())

    plain = accuracy(CrossEntropy())
    for n_networks in (2, 3):
        assert accuracy(JoCoR(forget_rate=0.4, n_gradual=5, n_networks=n_networks)) > max(0.95, plain + 0.1)


def test_networks_start_from_weights_of_their_own() -> None:
    model = JoCoR(n_networks=3).build(make(DATA), supervise(DATA.train_labels, 3))
    first, second, third = (network.state_dict()["1.weight"] for network in model.networks)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    noisy = supervise(flipped(DATA.train_labels, 0.3, 3), 3)
    learner = JoCoR(n_networks=3, forget_rate=0.3, n_gradual=2)
    task = replace(make(DATA, epochs=4), observers=Observers(checkpoints=tmp_path))
    expected = Trainer(make(DATA, epochs=4)).learn(learner, noisy)
    Trainer(task).learn(learner, noisy)
    again = Trainer(task).learn(learner, noisy)
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, expected.state_dict()[name])


@pytest.mark.parametrize(
    ("name", "learner"),
    [
        ("jocor", JoCoR()),
        ("jocor3", JoCoR(n_networks=3)),
        ("jocor3_circular", JoCoR(n_networks=3, graph="circular")),
        ("jocor3_ce", JoCoR(n_networks=3, divergence="ce", lambda_=0.5)),
    ],
)
def test_registry(name: str, learner: JoCoR) -> None:
    assert methods.resolve(name).learner == learner
    assert methods.resolve(f"em+{name}", {"forget_rate": 0.4}).learner.forget_rate == 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_networks": 1}, "n_networks must be at least 2, got 1"),
        ({"graph": "star"}, 'graph must be "full" or "circular", got \'star\''),
        ({"divergence": "js"}, 'divergence must be "kl" or "ce", got \'js\''),
        ({"lambda_": 1.5}, r"lambda_ must be in \[0, 1\], got 1.5"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JoCoR(**options)
