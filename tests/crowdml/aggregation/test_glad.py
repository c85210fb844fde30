from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy.special import expit, logsumexp

from crowdml.aggregation.glad import Glad, _infer
from crowdml.labels import CrowdLabels
from tests.crowds import check_em, check_permutations, crowds, real_crowd, simulated


def log_posterior(crowd: CrowdLabels, ability: np.ndarray, log_ease: np.ndarray) -> float:
    """Compute the objective of GLAD annotation by annotation."""
    n_classes = crowd.n_classes
    total = -(((ability - 1) ** 2).sum() + ((log_ease - 1) ** 2).sum()) / 2
    total -= (len(ability) + len(log_ease)) * np.log(2 * np.pi) / 2
    for item in range(crowd.n_items):
        joint = np.full(n_classes, -np.log(n_classes))
        for worker, label in zip(crowd.worker[crowd.item == item], crowd.label[crowd.item == item], strict=True):
            right = expit(ability[worker] * np.exp(log_ease[item]))
            for c in range(n_classes):
                joint[c] += np.log(right if c == label else (1 - right) / (n_classes - 1))
        known = -1 if crowd.gold is None else crowd.gold[item]
        total += logsumexp(joint) if known < 0 else joint[known]
    if crowd.history is not None:
        right = expit(ability * np.e)
        was_right = np.array([np.trace(counts) for counts in crowd.history])
        total += (was_right * np.log(right)).sum()
        total += ((crowd.history.sum(axis=(1, 2)) - was_right) * np.log((1 - right) / (n_classes - 1))).sum()
    return float(total)


def test_one_e_step_by_hand() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1, -1], [2, -1, 2]]), n_classes=3)
    ability, log_ease = np.array([1.0, 2.0, -1.0]), np.log([0.5, 2.0])
    posterior, belief = np.empty((2, 3)), np.empty(4)
    evidence = _infer(crowd, ability, log_ease, np.log(np.full((1, 3), 1 / 3)), posterior, belief)
    # Item 0: right with s(.5) and s(1); item 1: with s(2) and s(-2), so that class 2 gets s(2) s(-2).
    a, b, c, d = expit([0.5, 1.0, 2.0, -2.0])
    first = np.array([a * (1 - b) / 2, (1 - a) / 2 * b, (1 - a) * (1 - b) / 4]) / 3
    second = np.array([(1 - c) * (1 - d) / 4, (1 - c) * (1 - d) / 4, c * d]) / 3
    assert posterior == pytest.approx(np.stack([first / first.sum(), second / second.sum()]))
    assert evidence == pytest.approx(np.log(first.sum()) + np.log(second.sum()))
    assert belief == pytest.approx([posterior[0, 0], posterior[0, 1], posterior[1, 2], posterior[1, 2]])


@pytest.mark.parametrize("known", ["nothing", "gold", "history"])
def test_finds_the_optimum_that_scipy_finds(known: str) -> None:
    crowd, truth = simulated(n_items=12, n_workers=4, n_classes=3, seed=4)
    if known == "gold":
        crowd = replace(crowd, gold=np.where(np.arange(12) < 4, truth, -1))
    if known == "history":
        crowd = replace(crowd, history=np.random.default_rng(0).uniform(0, 2, (4, 3, 3)) + 4 * np.eye(3))

    def loss(parameters: np.ndarray) -> float:
        return -log_posterior(crowd, parameters[:4], parameters[4:])

    best = optimize.minimize(loss, np.ones(16), method="L-BFGS-B", options={"maxfun": 50_000})
    result = Glad(tol=0, max_iter=2000).fit(crowd)
    assert result.objective[-1] == pytest.approx(-best.fun, abs=1e-5)
    right = expit(np.outer(np.exp(best.x[4:]), best.x[:4]))
    assert result.worker_quality == pytest.approx(right.mean(axis=0), abs=1e-3)


def test_recovers_who_is_able_and_beats_the_vote() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 3000)
    ability, ease = np.linspace(-0.5, 2, 8), np.exp(rng.normal(1, 0.7, 3000))
    chance = expit(np.outer(ease, ability))
    right = rng.random(chance.shape) < chance
    wrong = (truth[:, None] + rng.integers(1, 3, chance.shape)) % 3
    crowd = CrowdLabels.from_dense(np.where(right, truth[:, None], wrong), n_classes=3)
    result = Glad().fit(crowd)
    assert result.converged
    assert result.worker_quality == pytest.approx(chance.mean(axis=0), abs=0.05)
    assert (result.labels == truth).mean() > (crowd.votes.argmax(axis=1) == truth).mean() + 0.01


@given(crowds())
def test_the_objective_never_falls(crowd: CrowdLabels) -> None:
    check_em(Glad(max_iter=30, tol=0).fit(crowd))


@given(crowds(), st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(crowd: CrowdLabels, seed: int) -> None:
    check_permutations(Glad(max_iter=15, tol=0), crowd, seed)


def test_gold_items_keep_their_class_and_teach() -> None:
    crowd = CrowdLabels.from_dense(np.tile([0, 1, 1], (40, 1)), n_classes=2)
    result = Glad().fit(replace(crowd, gold=np.where(np.arange(40) < 20, 0, -1)))
    assert (result.posterior[:20, 0] == 1).all()
    assert (result.labels == 0).all()
    assert Glad().fit(crowd).labels.tolist() == [1] * 40


def test_history_moves_the_estimate() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 0]]), n_classes=2)
    history = np.stack([20 * np.eye(2), 20 * (1 - np.eye(2))])
    result = Glad().fit(replace(crowd, history=history))
    assert result.labels.tolist() == [0, 1]
    assert result.worker_quality[0] > 0.9 > 0.1 > result.worker_quality[1]


def test_an_item_without_annotations_keeps_its_prior_and_a_worker_without_has_no_quality() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0, -1], [-1, -1, -1]]), n_classes=2)
    prior = np.array([[0.5, 0.5], [0.2, 0.8]])
    result = Glad().fit(crowd, prior)
    assert result.posterior[1] == pytest.approx([0.2, 0.8])
    assert np.isnan(result.worker_quality).tolist() == [False, False, True]


def test_repeated_answers_count_each() -> None:
    columns = np.array([0, 0, 0]), np.array([0, 0, 1]), np.array([0, 0, 1])
    twice = Glad().fit(CrowdLabels(*columns, 1, 2, 2, repeats="keep"))
    once = Glad().fit(CrowdLabels(*columns, 1, 2, 2, repeats="first"))
    assert twice.labels.tolist() == [0]
    assert once.posterior[0] == pytest.approx([0.5, 0.5])


def test_threads_do_not_change_the_answer(monkeypatch) -> None:
    crowd, _ = simulated(n_items=8000)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = Glad().fit(crowd)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert (Glad().fit(crowd).posterior == one.posterior).all()


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="max_iter must be at least 1, got 0"):
        Glad(max_iter=0)
    with pytest.raises(ValueError, match="tol must not be negative, got -1"):
        Glad(tol=-1)


@pytest.mark.parametrize(
    ("name", "percent"), [("bluebird", 72.22), ("rte", 92.50), ("web", 82.25), ("product", 92.83), ("sp_amt", 94.60)]
)
def test_accuracy_on_real_crowds(data_root, name: str, percent: float) -> None:
    # crowd-kit 1.4.2: 72.22, 92.50, 82.17, 92.82, 94.60.
    crowd, gold, known = real_crowd(data_root, name)
    assert 100 * (Glad().fit(crowd).labels == gold)[known].mean() == pytest.approx(percent, abs=0.05)
