from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import digamma

from crowdml.aggregation.mace import Mace
from crowdml.labels import CrowdLabels
from tests.crowds import check_em, check_permutations, crowds, real_crowd, simulated

Inference = Literal["vb", "em"]


class Naive:
    """MACE with one start, answer by answer, from section 3 of Hovy et al."""

    def __init__(self, crowd: CrowdLabels, inference: Inference, theta_prior: float, strategy_prior: float) -> None:
        self.crowd, self.inference, self.priors = crowd, inference, (theta_prior, strategy_prior)
        self.coin = np.ones((crowd.n_workers, 2))  # spamming, knowing
        self.strategy = np.ones((crowd.n_workers, crowd.n_classes))
        for w, true, label, times in self.known():
            self.coin[w, int(true == label)] += times
            self.strategy[w, label] += times * (true != label)
        self.coin /= self.coin.sum(axis=1, keepdims=True)
        self.strategy /= self.strategy.sum(axis=1, keepdims=True)

    def known(self) -> Iterator[tuple[int, int, int, float]]:
        """List the answers to items of known class: worker, class, label, count."""
        crowd = self.crowd
        if crowd.gold is not None:
            for item, w, label in zip(crowd.item, crowd.worker, crowd.label, strict=True):
                if crowd.gold[item] >= 0:
                    yield w, int(crowd.gold[item]), label, 1.0
        if crowd.history is not None:
            for (w, true, label), times in np.ndenumerate(crowd.history):
                yield w, true, label, times

    def expect(self) -> float:
        """E-step.  Return the log likelihood under the current parameters."""
        crowd, n_classes = self.crowd, self.crowd.n_classes
        self.coin_counts, self.strategy_counts = np.zeros_like(self.coin), np.zeros_like(self.strategy)
        self.posterior = np.empty((crowd.n_items, n_classes))
        evidence = 0.0
        for item in range(crowd.n_items):
            mine = np.flatnonzero(crowd.item == item)
            joint = np.full(n_classes, 1 / n_classes)
            for w, label in zip(crowd.worker[mine], crowd.label[mine], strict=True):
                joint *= self.coin[w, 0] * self.strategy[w, label] + self.coin[w, 1] * (np.arange(n_classes) == label)
            if crowd.gold is not None and crowd.gold[item] >= 0:
                joint *= np.arange(n_classes) == crowd.gold[item]
            evidence += np.log(joint.sum())
            self.posterior[item] = joint / joint.sum()
            for w, label in zip(crowd.worker[mine], crowd.label[mine], strict=True):
                self._count(w, label, self.posterior[item])
        if crowd.history is not None:
            for (w, true, label), times in np.ndenumerate(crowd.history):
                evidence += times * np.log(
                    self.coin[w, 0] * self.strategy[w, label] + self.coin[w, 1] * (true == label)
                )
                self._count(w, label, times * np.eye(n_classes)[true])
        return evidence

    def _count(self, w: int, label: int, weight: np.ndarray) -> None:
        for true, share in enumerate(weight):
            spammed = self.coin[w, 0] * self.strategy[w, label]
            knew = self.coin[w, 1] * (true == label)
            self.coin_counts[w] += share * np.array([spammed, knew]) / (spammed + knew)
            self.strategy_counts[w, label] += share * spammed / (spammed + knew)

    def maximise(self) -> float:
        """M-step.  Return the part of the objective that is not log likelihood."""
        theta, strategy = self.priors
        parameters, extra = [], 0.0
        for counts, prior in ((self.coin_counts, theta), (self.strategy_counts, strategy)):
            weights = counts + prior
            if self.inference == "em":
                parameters.append(weights / weights.sum(axis=1, keepdims=True))
                extra += prior * np.log(parameters[-1]).sum()
                continue
            logs = digamma(weights) - digamma(weights.sum(axis=1, keepdims=True))
            parameters.append(np.exp(logs))
            for row, row_logs in zip(weights, logs, strict=True):
                n = len(row)
                log_constant = stats.dirichlet(np.full(n, prior)).logpdf(np.full(n, 1 / n)) + n * (prior - 1) * np.log(
                    n
                )
                extra += stats.dirichlet(row).entropy() + log_constant + (prior - 1) * row_logs.sum()
        self.coin, self.strategy = parameters
        return extra


@pytest.mark.parametrize("inference", ["vb", "em"])
@pytest.mark.parametrize("known", ["nothing", "gold", "history"])
def test_equals_a_naive_implementation(inference: Inference, known: str) -> None:
    crowd, truth = simulated(n_items=20, n_workers=4, n_classes=3, seed=2)
    crowd = crowd.select(np.random.default_rng(0).random(crowd.n_annotations) < 0.8)
    if known == "gold":
        crowd = replace(crowd, gold=np.where(np.arange(20) < 6, truth, -1))
    if known == "history":
        crowd = replace(crowd, history=np.random.default_rng(1).uniform(0, 3, (4, 3, 3)))
    priors = (0.5, 10.0) if inference == "vb" else (0.01 / 3, 0.01 / 3)
    naive = Naive(crowd, inference, *priors)
    naive.expect()
    objective = []
    for _ in range(6):
        extra = naive.maximise()
        objective.append(extra + naive.expect())
    result = Mace(inference=inference, n_starts=1, max_iter=6, tol=0).fit(crowd)
    assert result.objective == pytest.approx(objective)
    assert result.posterior == pytest.approx(naive.posterior)


def test_one_e_step_by_hand() -> None:
    # One start has theta 1/2 and xi uniform: an answer has probability 3/4 for its class and 1/4 for the other class.
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [0, 1]]), n_classes=2)
    naive = Naive(crowd, "em", 0, 0)
    assert naive.expect() == pytest.approx(np.log((9 / 16 + 1 / 16) / 2) + np.log(3 / 16))
    assert naive.posterior == pytest.approx(np.array([[0.9, 0.1], [0.5, 0.5]]))
    # If right, worker 0 knew the answer with probability 2/3: .9 * 2/3 + .5 * 2/3.
    assert naive.coin_counts[0] == pytest.approx([2 - 1.4 * 2 / 3, 1.4 * 2 / 3])
    assert Mace(inference="em", smoothing=0, n_starts=1, max_iter=1, tol=0).fit(crowd).n_iter == 1


def test_recovers_who_spams() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, 2000)
    knowing = np.array([0.9, 0.7, 0.5, 0.3, 0.1])
    strategy = rng.dirichlet(np.ones(4), 5)
    spam = np.stack([rng.choice(4, 2000, p=row) for row in strategy], axis=1)
    dense = np.where(rng.random((2000, 5)) < knowing, truth[:, None], spam)
    crowd = CrowdLabels.from_dense(dense, n_classes=4)
    quality = knowing + (1 - knowing) / 4
    for inference in ("vb", "em"):
        result = Mace(inference=inference).fit(crowd)
        assert result.worker_quality == pytest.approx(quality, abs=0.05)
        expected = (1 - knowing)[:, None, None] * strategy[:, None, :] + knowing[:, None, None] * np.eye(4)
        assert result.confusion == pytest.approx(expected, abs=0.06)
    assert (result.labels == truth).mean() > (crowd.votes.argmax(axis=1) == truth).mean() + 0.03


def test_the_interval_is_that_of_the_posterior() -> None:
    crowd, truth = simulated(n_items=300)
    method = Mace(n_starts=1)
    # If the truth is known, the posterior is exact except for the coupling of knowing and strategy.
    result = method.fit(replace(crowd, gold=truth))
    assert result.worker_quality_interval is not None
    low, high = result.worker_quality_interval.T
    quality = np.linspace(0.3, 0.9, 6)
    assert ((low < result.worker_quality) & (result.worker_quality < high)).all()
    assert ((low < quality) & (quality < high)).mean() >= 4 / 6
    assert (result.worker_quality_se < 0.05).all()
    assert Mace(inference="em", n_starts=1).fit(crowd).worker_quality_interval is None


@given(crowds(), st.sampled_from(["vb", "em"]))
def test_the_objective_never_falls(crowd: CrowdLabels, inference: Inference) -> None:
    check_em(Mace(inference=inference, n_starts=2, max_iter=30, tol=0).fit(crowd))


@given(crowds(), st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(crowd: CrowdLabels, seed: int) -> None:
    check_permutations(Mace(n_starts=1, max_iter=15, tol=0), crowd, seed)


def test_the_order_of_the_rows_does_not_matter() -> None:
    crowd, _ = simulated()
    order = np.random.default_rng(1).permutation(crowd.n_annotations)
    shuffled = CrowdLabels(crowd.item[order], crowd.worker[order], crowd.label[order], 400, 6, 4)
    assert Mace().fit(shuffled).posterior == pytest.approx(Mace().fit(crowd).posterior, abs=1e-9)


def test_keeps_the_best_of_its_starts() -> None:
    # Random labels, which have several explanations.
    crowd = CrowdLabels.from_dense(np.random.default_rng(2).integers(0, 2, (60, 6)), n_classes=2)
    few, many = (Mace(n_starts=n, inference="em", tol=0).fit(crowd).objective[-1] for n in (1, 30))
    assert many > few + 0.1


def test_gold_labels_and_histories_correct_the_workers() -> None:
    crowd = CrowdLabels.from_dense(np.tile([[0, 1, 1], [1, 0, 0]], (20, 1)), n_classes=2)
    gold = np.where(np.arange(40) < 20, crowd.label[::3], -1)
    result = Mace().fit(replace(crowd, gold=gold))
    assert (result.labels == crowd.label[::3]).all()
    assert (result.posterior[np.arange(20), gold[:20]] == 1).all()
    history = np.stack([20 * np.eye(2), 20 * (1 - np.eye(2)), 20 * (1 - np.eye(2))])
    assert (Mace().fit(replace(crowd, history=history)).labels == crowd.label[::3]).all()


def test_an_item_without_annotations_keeps_its_prior() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [1, 1], [-1, -1]]), n_classes=2)
    prior = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
    assert Mace().fit(crowd, prior).posterior[2] == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize("inference", ["vb", "em"])
def test_a_crowd_with_few_labels_gives_a_valid_result(inference: Inference) -> None:
    method = Mace(inference=inference, smoothing=0)
    one_class = method.fit(CrowdLabels.from_dense(np.zeros((4, 3), int), n_classes=3))
    one_worker = method.fit(CrowdLabels.from_dense(np.array([[0], [1], [1]]), n_classes=2))
    once = method.fit(CrowdLabels.from_dense(np.array([[0, 0, 1, -1], [1, 0, 1, -1], [1, 1, 1, 0]]), n_classes=2))
    twice = method.fit(CrowdLabels(np.array([0, 0]), np.array([0, 0]), np.array([0, 1]), 1, 1, 2, repeats="keep"))
    for result in (one_class, one_worker, once, twice):
        assert np.allclose(result.posterior.sum(axis=1), 1)
        assert np.isfinite(result.worker_quality).all()
        assert np.isfinite(result.worker_quality_se).all()


def test_bad_options_are_refused() -> None:
    for options, message in [
        ({"inference": "gibbs"}, 'inference must be "vb" or "em"'),
        ({"n_starts": 0}, "n_starts must be at least 1, got 0"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"theta_prior": 0}, "theta_prior must be positive, got 0"),
        ({"strategy_prior": -1}, "strategy_prior must be positive, got -1"),
        ({"smoothing": -1}, "smoothing must not be negative, got -1"),
        ({"tol": -1}, "tol must not be negative, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            Mace(**options)


@pytest.mark.parametrize(
    ("name", "percent"), [("bluebird", 86.11), ("rte", 92.62), ("web", 83.83), ("product", 84.11), ("sp_amt", 94.60)]
)
def test_accuracy_on_real_crowds(data_root, name: str, percent: float) -> None:
    # crowd-kit 1.4.2: 72.22, 91.50, 79.31, 82.73, 94.60.
    crowd, gold, known = real_crowd(data_root, name)
    assert 100 * (Mace().fit(crowd).labels == gold)[known].mean() == pytest.approx(percent, abs=0.1)
