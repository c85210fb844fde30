from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.aggregation import MajorityVote
from crowdml.aggregation.aggregator import vote_shares
from crowdml.aggregation.laa import Laa
from crowdml.labels import CrowdLabels
from tests.crowds import check_permutations, crowds, real_crowd, simulated


def naive(crowd: CrowdLabels, laa: Laa) -> tuple[np.ndarray, np.ndarray]:
    """The model of the paper on one-hot vectors, with a mask for missing annotations, trained in one batch."""
    n_classes, n_workers = crowd.n_classes, crowd.n_workers
    one_hot = torch.from_numpy((crowd.to_dense()[:, :, None] == np.arange(n_classes)).astype(np.float64))
    shares = torch.from_numpy(vote_shares(crowd))
    weight = torch.zeros(n_workers * n_classes, n_classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(n_classes, dtype=torch.float64, requires_grad=True)
    decoder = torch.zeros(n_classes, n_workers, n_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=laa.learning_rate)
    for _ in range(laa.pretraining_epochs):
        q = torch.softmax(one_hot.flatten(1) @ weight + bias, dim=1)
        loss = -(shares * q.log()).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer = torch.optim.Adam([weight, bias, decoder], lr=laa.learning_rate)
    for _ in range(laa.epochs):
        q = torch.softmax(one_hot.flatten(1) @ weight + bias, dim=1)
        reconstructed = torch.softmax(decoder, dim=2)
        cross_entropy = -torch.einsum("iwl,cwl->ic", one_hot, reconstructed.log())
        divergence = (q * (q.log() - shares.clamp(min=1e-12).log())).sum(1)
        loss = ((q * cross_entropy).sum(1) + laa.kl_weight * divergence).mean()
        loss = loss + laa.encoder_penalty * weight.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    q = torch.softmax(one_hot.flatten(1) @ weight + bias, dim=1)
    return q.detach().numpy(), torch.softmax(decoder, dim=2).detach().numpy().transpose(1, 0, 2)


def test_it_is_the_autoencoder_of_the_paper() -> None:
    crowd, _ = simulated(n_items=60, n_classes=3)
    holes = np.where(np.random.default_rng(0).random((60, 6)) < 0.3, -1, crowd.to_dense())
    crowd = CrowdLabels.from_dense(holes, n_classes=3)
    laa = Laa(epochs=30, learning_rate=0.02, device="cpu")
    posterior, confusion = naive(crowd, laa)
    result = laa.fit(crowd)
    assert result.posterior == pytest.approx(posterior, abs=1e-7)
    assert result.confusion == pytest.approx(confusion, abs=1e-7)


def test_the_first_loss_by_hand() -> None:
    # Before training, q and every worker are uniform: two labels of ln 2 each, and a divergence from the vote shares.
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 0]]), n_classes=2)
    result = Laa(pretraining_epochs=0, epochs=1, kl_weight=0.5).fit(crowd, [0.2, 0.8])
    divergence = 0.5 * np.log(0.5 / 0.2) + 0.5 * np.log(0.5 / 0.8)
    assert result.objective == pytest.approx([-(2 * np.log(2) + 0.5 * divergence)])


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(seed: int) -> None:
    crowd, _ = simulated(n_items=40, n_classes=3, seed=seed)
    check_permutations(Laa(pretraining_epochs=10, epochs=10), crowd, seed)


@settings(max_examples=10)
@given(crowds(), st.booleans())
def test_every_crowd_has_an_answer(crowd: CrowdLabels, with_gold: bool) -> None:
    if with_gold:
        crowd = replace(crowd, gold=np.random.default_rng(0).integers(-1, crowd.n_classes, crowd.n_items))
    result = Laa(pretraining_epochs=3, epochs=3).fit(crowd)
    assert np.allclose(result.posterior.sum(axis=1), 1)
    assert np.allclose(result.confusion.sum(axis=2), 1)
    if crowd.gold is not None:
        known = crowd.gold >= 0
        assert (result.posterior[known] == np.eye(crowd.n_classes)[crowd.gold[known]]).all()


def test_batches_are_drawn_by_the_seed_alone() -> None:
    crowd, truth = simulated(n_classes=3)
    laa = Laa(batch_size=64, epochs=40, learning_rate=0.02, pretraining_epochs=20)
    first, again, other = (replace(laa, seed=seed).fit(crowd) for seed in (1, 1, 2))
    assert (first.posterior == again.posterior).all()
    assert not np.allclose(first.posterior, other.posterior)
    assert (first.labels != truth).mean() < (MajorityVote().fit(crowd).labels != truth).mean()


def test_gold_labels_and_histories_teach_who_lies() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    dense = np.where(rng.random((200, 5)) < [0.1, 0.1, 0.1, 0.9, 0.9], truth[:, None], 1 - truth[:, None])
    crowd = CrowdLabels.from_dense(dense, n_classes=2)
    laa = Laa(learning_rate=0.02)
    assert (laa.fit(crowd).labels != truth).mean() > 0.9
    gold = np.where(np.arange(200) < 20, truth, -1)
    assert (laa.fit(replace(crowd, gold=gold)).labels != truth).mean() < 0.05
    liar = np.array([[10.0, 90], [90, 10]])
    history = np.stack([liar] * 3 + [liar[::-1]] * 2)
    assert (laa.fit(replace(crowd, history=history)).labels != truth).mean() < 0.05


def test_an_item_without_annotations_gets_the_prior() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [1, 1], [-1, -1]]), n_classes=2)
    assert Laa(epochs=5).fit(crowd, [0.3, 0.7]).posterior[2] == pytest.approx([0.3, 0.7])


def test_repeated_answers_count_each() -> None:
    crowd = CrowdLabels(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), 2, 2, 2, repeats="keep")
    assert Laa().fit(crowd).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"kl_weight": -1}, "kl_weight must not be negative, got -1"),
        ({"smoothing": -1}, "smoothing must not be negative, got -1"),
        ({"pretraining_epochs": -1}, "pretraining_epochs must not be negative, got -1"),
        ({"encoder_penalty": -1}, "encoder_penalty must not be negative, got -1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Laa(**options)


@pytest.mark.parametrize(("name", "percent"), [("bluebird", 12.04), ("rte", 7.5), ("ms", 24.4)])
def test_error_on_real_crowds(data_root, name: str, percent: float) -> None:
    # The paper's table has 11.1 for LAA-B on bluebird.  The paper does not give its stopping rule.
    crowd, gold, known = real_crowd(data_root, name)
    assert 100 * (Laa().fit(crowd).labels != gold)[known].mean() == pytest.approx(percent, abs=0.5)
