from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import digamma, gammaln
from scipy.stats import dirichlet

from crowdml.aggregation.ibcc import Ibcc
from crowdml.labels import CrowdLabels
from tests.crowds import check_em, check_permutations, crowds, real_crowd, simulated


def test_one_iteration_by_hand() -> None:
    # Two workers, two items, labels 0 and 1.  The vote shares are certain, so each row has one answer more than its
    # prior.
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [1, 1]]), n_classes=2)
    result = Ibcc(diagonal=2, off_diagonal=1, class_pseudo_count=1, max_iter=1).fit(crowd)
    # psi(3) - psi(1) = 3/2 for each answer; the class prior is uniform.
    right = 1 / (1 + np.exp(-3))
    assert result.posterior == pytest.approx(np.array([[right, 1 - right], [1 - right, right]]))
    assert result.confusion[0, 0] == pytest.approx([(2 + right) / 4, (2 - right) / 4])


def naive(crowd: CrowdLabels, n_iter: int) -> tuple[np.ndarray, float]:
    """Compute posterior and bound item by item, with scipy's entropies of Dirichlet distributions."""
    labels, n_classes = crowd.to_dense(), crowd.n_classes
    answered = [(i, w, int(labels[i, w])) for i, w in zip(*np.nonzero(labels >= 0), strict=True)]
    prior = np.eye(n_classes) * 3 + 1
    q = np.array([np.bincount(row[row >= 0], minlength=n_classes) / max((row >= 0).sum(), 1) for row in labels])
    unlabelled = q.sum(axis=1) == 0
    q[unlabelled] = 1 / n_classes
    classes, bound = np.ones(n_classes), 0.0
    for _ in range(n_iter):
        confusion = np.tile(prior, (crowd.n_workers, 1, 1))
        for i, w, label in answered:
            confusion[w, :, label] += q[i]
        classes = 1 + q.sum(axis=0)
        log_confusion = digamma(confusion) - digamma(confusion.sum(axis=2, keepdims=True))
        log_classes = digamma(classes) - digamma(classes.sum())
        logits = np.tile(log_classes, (crowd.n_items, 1))
        for i, w, label in answered:
            logits[i] += log_confusion[w, :, label]
        q = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        # E[log joint] + entropy, term by term.
        bound = float((q * logits).sum() - (q * np.log(q)).sum())
        bound += dirichlet.entropy(classes) - log_beta(np.ones(n_classes))
        for w in range(crowd.n_workers):
            for c in range(n_classes):
                bound += ((prior[c] - 1) * log_confusion[w, c]).sum() - log_beta(prior[c])
                bound += dirichlet.entropy(confusion[w, c])
    classes = 1 + q.sum(axis=0)
    q[unlabelled] = classes / classes.sum()
    return q, bound


def log_beta(parameters: np.ndarray) -> float:
    return float(gammaln(parameters).sum() - gammaln(parameters.sum()))


@given(crowds(shared=True), st.integers(1, 6))
def test_agrees_with_the_equations_written_out(crowd: CrowdLabels, n_iter: int) -> None:
    posterior, bound = naive(crowd, n_iter)
    result = Ibcc(max_iter=n_iter, tol=0).fit(crowd)
    assert result.posterior == pytest.approx(posterior, abs=1e-9)
    assert result.objective[-1] == pytest.approx(bound)


@given(crowds(shared=True))
def test_the_bound_never_falls(crowd: CrowdLabels) -> None:
    result = Ibcc(max_iter=30, tol=0).fit(crowd)
    check_em(result)
    assert result.worker_quality_interval is not None
    low, high = result.worker_quality_interval.T
    seen = crowd.labels_per_worker > 0
    assert (low < result.worker_quality)[seen].all()
    assert (result.worker_quality < high)[seen].all()


@given(crowds(), st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(crowd: CrowdLabels, seed: int) -> None:
    check_permutations(Ibcc(max_iter=15, tol=0), crowd, seed)


@given(crowds(), st.data())
def test_known_items_keep_their_class_and_the_bound_rises(crowd: CrowdLabels, data: st.DataObject) -> None:
    gold = np.array(data.draw(st.lists(st.integers(-1, 1), min_size=crowd.n_items, max_size=crowd.n_items)))
    result = Ibcc(max_iter=20, tol=0).fit(replace(crowd, gold=gold))
    check_em(result)
    known = gold >= 0
    assert (result.posterior[known].argmax(axis=1) == gold[known]).all()
    assert (result.posterior[known].max(axis=1) == 1).all()


def test_a_history_shifts_the_workers_quality() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 0], [0, 1], [1, 0]]), n_classes=2)
    history = np.stack([20 * np.eye(2), 20 * (1 - np.eye(2))])
    result = Ibcc().fit(replace(crowd, history=history))
    assert result.labels.tolist() == [0, 1, 0, 1]
    assert (np.diff(result.objective) > -1e-8).all()
    assert result.worker_quality[0] > 0.8 > 0.3 > result.worker_quality[1]


def test_a_prior_stays_and_decides_where_nothing_else_does() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0], [1], [-1]]), n_classes=2)
    of_items = np.array([[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]])
    result = Ibcc().fit(crowd, of_items)
    assert result.posterior[2] == pytest.approx([0.1, 0.9])
    assert result.class_prior == pytest.approx(of_items.mean(axis=0))
    assert result.n_unlabelled == 1
    learnt = Ibcc().fit(CrowdLabels.from_dense(np.array([[0, 0], [0, 0], [1, 0], [-1, -1]]), n_classes=2))
    assert learnt.class_prior[0] > 0.6
    assert learnt.posterior[3] == pytest.approx(learnt.class_prior)


def test_repeated_answers_count_each() -> None:
    # The worker gives item 0 the labels 0 and 1, and item 1 the label 1: expected counts (.5, .5) of class 0, (.5, 1.5)
    # of class 1.
    crowd = CrowdLabels(np.array([0, 0, 1]), np.array([0, 0, 0]), np.array([0, 1, 1]), 2, 1, 2, repeats="keep")
    result = Ibcc(max_iter=1).fit(crowd)
    log_confusion = digamma([[4.5, 1.5], [1.5, 5.5]]) - digamma([[6.0], [7.0]])
    ratio = np.exp(log_confusion[0] - log_confusion[1]) * [1, np.exp(digamma(1.5) - digamma(2.5))]
    assert result.posterior[0, 0] / result.posterior[0, 1] == pytest.approx(ratio.prod())
    assert result.posterior[1, 0] / result.posterior[1, 1] == pytest.approx(ratio[1])


def test_a_crowd_with_few_labels_gives_a_valid_result() -> None:
    for dense in ([[0]], [[0, 0], [0, 0]], [[0], [1], [2]], [[1, -1], [-1, -1]]):
        result = Ibcc().fit(CrowdLabels.from_dense(np.array(dense), n_classes=3))
        check_em(result)
        assert result.converged


def test_recovers_worker_quality() -> None:
    crowd, truth = simulated(n_items=3000)
    result = Ibcc().fit(crowd)
    assert result.worker_quality == pytest.approx(np.linspace(0.3, 0.9, 6), abs=0.04)
    assert result.worker_quality_interval is not None
    assert (np.diff(result.worker_quality_interval, axis=1) < 0.05).all()
    assert (result.labels != truth).mean() < (crowd.votes.argmax(axis=1) != truth).mean()


def test_bad_options_are_refused() -> None:
    for options, message in [
        ({"diagonal": 0.0}, "diagonal must be positive and finite, got 0.0"),
        ({"off_diagonal": -1.0}, "off_diagonal must be positive"),
        ({"class_pseudo_count": float("nan")}, "class_pseudo_count must be"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            Ibcc(**options)


# The authors of EBCC publish these results with the same priors and a tolerance of 1e-3.  They count identical rows of
# zc_us once.
@pytest.mark.parametrize(
    ("name", "accuracy"),
    [("bluebird", 0.8889), ("rte", 0.9275), ("web", 0.7508), ("product", 0.9383), ("sp_amt", 0.9440), ("ms", 0.7900)],
)
def test_published_accuracy_on_real_crowds(data_root, name: str, accuracy: float) -> None:
    crowd, gold, known = real_crowd(data_root, name)
    result = Ibcc(tol=1e-3).fit(crowd)
    assert (result.labels == gold)[known].mean() == pytest.approx(accuracy, abs=5e-5)


def test_published_accuracy_where_workers_answer_twice(data_root) -> None:
    frame = pd.read_csv(data_root / "crowds" / "zc_us.csv").drop_duplicates()
    truth = pd.read_csv(data_root / "crowds" / "zc_us_truth.csv").set_index("task")["label"]
    crowd = CrowdLabels.from_frame(frame, repeats="keep")
    assert crowd.item_ids is not None
    assert (Ibcc().fit(crowd).labels == truth[crowd.item_ids]).mean() == pytest.approx(0.8270, abs=5e-5)
