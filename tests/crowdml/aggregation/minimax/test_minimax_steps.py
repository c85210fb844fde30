from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax

from crowdml.aggregation.inference.confusion import given_counts
from crowdml.aggregation.minimax import minimax_steps
from crowdml.aggregation.minimax.minimax_steps import expected_by_worker, infer, newton_step
from crowdml.labels import CrowdLabels
from tests.crowdml.aggregation.minimax.crowds import expected_by_item, log_evidence, log_given, log_pi
from tests.crowds import crowds, simulated

Array = np.ndarray


@st.composite
def crowds_and_terms(draw: st.DrawFn) -> tuple[CrowdLabels, Array, Array, Array]:
    """Draw a crowd with some repeated answers, a posterior, and worker and item terms of sizes up to about 10."""
    crowd = draw(crowds())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    again = rng.integers(0, crowd.n_annotations, rng.integers(0, 4))
    crowd = CrowdLabels(
        item=np.append(crowd.item, crowd.item[again]),
        worker=np.append(crowd.worker, crowd.worker[again]),
        label=np.append(crowd.label, rng.integers(0, crowd.n_classes, len(again), dtype=np.int32)),
        n_items=crowd.n_items, n_workers=crowd.n_workers, n_classes=crowd.n_classes, repeats="keep",
    )  # fmt: skip
    posterior = rng.dirichlet(np.full(crowd.n_classes, 0.5), crowd.n_items)
    scale, rows = draw(st.sampled_from([0.0, 0.3, 4.0])), draw(st.sampled_from([1, crowd.n_classes]))
    worker_term = scale * rng.normal(size=(crowd.n_workers, crowd.n_classes, crowd.n_classes))
    return crowd, posterior, worker_term, scale * rng.normal(size=(crowd.n_items, rows, crowd.n_classes))


def given_by_item(crowd: CrowdLabels, posterior: Array, item_term: Array) -> Array:
    votes = crowd.votes[:, None, :]
    return votes if item_term.shape[1] == 1 else posterior[:, :, None] * votes


def loss(crowd: CrowdLabels, posterior: Array, worker_term: Array, item_term: Array, penalties: Array) -> float:
    """Compute the loss of the M-step for a fixed posterior."""
    squares = np.array([(worker_term**2).sum(), (item_term**2).sum()])
    given = log_given(crowd, worker_term, item_term)
    return float(-(posterior[crowd.item] * given).sum() + (penalties * squares).sum() / 2)


def gradients(
    crowd: CrowdLabels, posterior: Array, worker_term: Array, item_term: Array, penalties: Array
) -> tuple[Array, Array]:
    by_worker = expected_by_worker(crowd, posterior, worker_term, item_term.__getitem__)
    by_item = expected_by_item(crowd, posterior, worker_term, item_term)
    return (
        by_worker - given_counts(crowd, posterior) + penalties[0] * worker_term,
        by_item - given_by_item(crowd, posterior, item_term) + penalties[1] * item_term,
    )


def step_both(crowd: CrowdLabels, posterior: Array, worker_term: Array, item_term: Array, penalties: Array) -> float:
    """Make a Newton step on both terms.  Return the loss between the two steps."""
    expected = expected_by_worker(crowd, posterior, worker_term, item_term.__getitem__)
    newton_step(worker_term, expected, given_counts(crowd, posterior), penalties[0])
    between = loss(crowd, posterior, worker_term, item_term, penalties)
    expected = expected_by_item(crowd, posterior, worker_term, item_term)
    newton_step(item_term, expected, given_by_item(crowd, posterior, item_term), penalties[1])
    return between


def fixed_terms() -> tuple[Array, Array]:
    worker_term = np.log([[[0.8, 0.2], [0.3, 0.7]], [[0.5, 0.5], [0.25, 0.75]]])
    return worker_term, np.log([[[1.0, 3.0]]])


def test_one_e_step_by_hand() -> None:
    # Worker 0 has odds (.8, .6) and (.3, 2.1) with the item's term, worker 1 (.5, 1.5) and (.25, 2.25).
    crowd = CrowdLabels.from_dense(np.array([[0, 1]]), n_classes=2)
    worker_term, item_term = fixed_terms()
    posterior, evidence = infer(crowd, worker_term, item_term.__getitem__, np.array([0.5, 0.5]))
    first, second = 4 / 7 * 3 / 4, 1 / 8 * 9 / 10
    assert posterior == pytest.approx(np.array([[first, second]]) / (first + second))
    assert np.exp(evidence) == pytest.approx([(first + second) / 2])


def test_one_e_step_by_hand_where_an_item_has_a_matrix() -> None:
    # Class 0 as above.  For class 1, the item adds odds of 2 to 1: worker 0 has (.6, .7), worker 1 (.5, .75).
    crowd = CrowdLabels.from_dense(np.array([[0, 1]]), n_classes=2)
    worker_term, item_term = fixed_terms()[0], np.log([[[1.0, 3.0], [2.0, 1.0]]])
    posterior, evidence = infer(crowd, worker_term, item_term.__getitem__, np.array([0.5, 0.5]))
    first, second = 4 / 7 * 3 / 4, 6 / 13 * 3 / 5
    assert posterior == pytest.approx(np.array([[first, second]]) / (first + second))
    assert np.exp(evidence) == pytest.approx([(first + second) / 2])


def test_expected_counts_by_hand() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1]]), n_classes=2)
    posterior = np.array([[0.4, 0.6]])
    worker_term, item_term = fixed_terms()
    by_worker = expected_by_worker(crowd, posterior, worker_term, item_term.__getitem__)
    pi = np.array([[[4 / 7, 3 / 7], [1 / 8, 7 / 8]], [[1 / 4, 3 / 4], [1 / 10, 9 / 10]]])
    assert by_worker == pytest.approx(posterior[0][:, None] * pi)
    by_item = expected_by_item(crowd, posterior, worker_term, item_term)
    assert by_item == pytest.approx(by_worker.sum(axis=(0, 1))[None, None])
    by_class = expected_by_item(crowd, posterior, worker_term, np.repeat(item_term, 2, axis=1))
    assert by_class == pytest.approx(by_worker.sum(axis=0)[None])


def test_a_repeated_answer_counts_as_often_as_it_was_given() -> None:
    twice = CrowdLabels(
        item=np.array([0, 0, 0]), worker=np.array([0, 1, 0]), label=np.array([0, 1, 0]),
        n_items=1, n_workers=2, n_classes=2, repeats="keep",
    )  # fmt: skip
    worker_term, item_term = fixed_terms()
    posterior, _ = infer(twice, worker_term, item_term.__getitem__, np.array([0.5, 0.5]))
    first, second = (4 / 7) ** 2 * 3 / 4, (1 / 8) ** 2 * 9 / 10
    assert posterior == pytest.approx(np.array([[first, second]]) / (first + second))


@given(crowds_and_terms(), st.sampled_from([1, 37, 10**6]))
def test_every_step_agrees_with_pi_written_out(case, block_cells: int) -> None:
    crowd, posterior, worker_term, item_term = case
    logs = log_pi(crowd, worker_term, item_term)
    expected = posterior[crowd.item][:, :, None] * np.exp(logs)
    by_worker, by_item = np.zeros_like(worker_term), np.zeros_like(item_term)
    np.add.at(by_worker, crowd.worker, expected)
    one_row = item_term.shape[1] == 1
    np.add.at(by_item, crowd.item, expected.sum(axis=1, keepdims=True) if one_row else expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minimax_steps, "BLOCK_CELLS", block_cells)
        ours = expected_by_worker(crowd, posterior, worker_term, item_term.__getitem__)
        assert ours == pytest.approx(by_worker)
        assert expected_by_item(crowd, posterior, worker_term, item_term) == pytest.approx(by_item)
        prior = np.full(crowd.n_classes, 1 / crowd.n_classes)
        inferred, evidence = infer(crowd, worker_term, item_term.__getitem__, prior)
    assert evidence == pytest.approx(log_evidence(crowd, worker_term, item_term))
    joint = np.zeros_like(posterior)
    np.add.at(joint, crowd.item, log_given(crowd, worker_term, item_term))
    assert inferred == pytest.approx(np.exp(log_softmax(joint, axis=1)))


@pytest.mark.parametrize("n_classes", [3, 10])
def test_many_items_in_threads_give_the_same_as_few(monkeypatch, n_classes: int) -> None:
    crowd, _ = simulated(n_items=6000, n_classes=n_classes)
    rng = np.random.default_rng(3)
    posterior = rng.dirichlet(np.ones(n_classes), 6000)
    worker_term, item_term = rng.normal(size=(6, n_classes, n_classes)), rng.normal(size=(6000, n_classes, n_classes))
    ours = expected_by_worker(crowd, posterior, worker_term, item_term.__getitem__)
    by_item = expected_by_item(crowd, posterior, worker_term, item_term)
    monkeypatch.setattr(minimax_steps, "cut", lambda start, *_: [(0, len(start) - 1)])
    assert ours == pytest.approx(expected_by_worker(crowd, posterior, worker_term, item_term.__getitem__))
    assert by_item == pytest.approx(expected_by_item(crowd, posterior, worker_term, item_term))


@pytest.mark.parametrize("rows", [1, 3])
def test_the_gradient_by_finite_differences(rows: int) -> None:
    crowd, _ = simulated(n_items=7, n_workers=3, n_classes=3)
    rng = np.random.default_rng(1)
    posterior = rng.dirichlet(np.ones(3), 7)
    terms, penalties = [rng.normal(size=(3, 3, 3)), rng.normal(size=(7, rows, 3))], np.array([0.7, 1.3])
    for term, gradient in zip(terms, gradients(crowd, posterior, terms[0], terms[1], penalties), strict=True):
        numeric = np.zeros_like(term)
        for index in np.ndindex(term.shape):
            for sign in (1, -1):
                term[index] += sign * 1e-5
                numeric[index] += sign * loss(crowd, posterior, terms[0], terms[1], penalties) / 2e-5
                term[index] -= sign * 1e-5
        assert gradient == pytest.approx(numeric, abs=1e-7)


@given(crowds_and_terms(), st.sampled_from([0.01, 1.0, 100.0]))
def test_a_newton_step_never_climbs(case, penalty: float) -> None:
    crowd, posterior, worker_term, item_term = case
    penalties = np.array([penalty, 2 * penalty])
    before = loss(crowd, posterior, worker_term, item_term, penalties)
    between = step_both(crowd, posterior, worker_term, item_term, penalties)
    after = loss(crowd, posterior, worker_term, item_term, penalties)
    slack = 1e-12 * abs(before)
    assert after - slack <= between <= before + slack


def test_a_newton_step_solves_the_bounding_curvature_and_is_shortened() -> None:
    term, given, penalty = np.array([[-10.0, 0.0, 1.0]]), np.array([[4.0, 1.0, 0.0]]), 0.05
    expected = 5 * np.exp(log_softmax(term, axis=1))
    curvature = np.diag(expected[0] + penalty) - np.outer(expected, expected) / 5
    step = np.linalg.solve(curvature, given[0] - expected[0] - penalty * term[0])
    spread = np.ptp(step)
    moved = term.copy()
    assert newton_step(moved, expected, given, penalty) == pytest.approx(spread)
    assert moved[0] == pytest.approx(term[0] + step * np.log1p(spread) / spread)

    def row_loss(logits: Array) -> float:
        return float(-(given * log_softmax(logits, axis=1)).sum() + penalty / 2 * (logits**2).sum())

    assert row_loss(moved) < row_loss(term) < row_loss(term + step)  # the whole step would have climbed


@pytest.mark.parametrize("rows", [1, 3])
def test_alternating_steps_reach_the_joint_minimum(rows: int) -> None:
    crowd, _ = simulated(n_items=20, n_workers=4, n_classes=3)
    posterior = np.random.default_rng(2).dirichlet(np.ones(3), 20)
    penalties = np.array([1.0, 2.0])
    worker_term, item_term = np.zeros((4, 3, 3)), np.zeros((20, rows, 3))
    for _ in range(60):
        step_both(crowd, posterior, worker_term, item_term, penalties)

    def objective(flat: Array) -> tuple[float, Array]:
        terms = flat[:36].reshape(4, 3, 3), flat[36:].reshape(20, rows, 3)
        by_worker, by_item = gradients(crowd, posterior, *terms, penalties)
        return loss(crowd, posterior, *terms, penalties), np.append(by_worker, by_item)

    start = np.zeros(36 + item_term.size)
    best = minimize(objective, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-9, "ftol": 1e-15})
    assert np.append(worker_term, item_term) == pytest.approx(best.x, abs=1e-6)
