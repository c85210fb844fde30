from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.noise import make_assignment, make_pattern, make_workers, simulate_crowd
from crowdml.noise.simulation import _draw

TRUTH = np.arange(6000) % 10


def transitions(name: str = "uniform", n_workers: int = 4, rate: float = 0.6) -> np.ndarray:
    pattern = make_pattern(name, rate, "cifar10")
    return make_workers("homogeneous", pattern, n_workers, 10, np.random.default_rng(0)).transitions


def test_labels_follow_the_transition_matrix() -> None:
    truth = np.arange(200_000) % 10
    matrix = np.random.default_rng(1).dirichlet(np.ones(10) * 0.5, size=10)
    labels = simulate_crowd(truth, matrix[None], seed=5).to_dense()[:, 0]
    drawn = np.bincount(truth * 10 + labels, minlength=100).reshape(10, 10) / 20_000
    # Standard deviation of a share is at most sqrt(.25 / 20000) = .0035.
    assert np.abs(drawn - matrix).max() < 0.015


def test_a_class_of_probability_zero_is_never_drawn() -> None:
    matrix = np.array([[1.0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]])

    class Edge:
        """Draws that hit the ends of the intervals."""

        def random(self, n: int) -> np.ndarray:
            return np.resize([0.0, 0.5, np.nextafter(1, 0)], n)

    truth = np.repeat([0, 1, 2], 3)
    labels = _draw(truth, matrix, Edge())  # pyright: ignore[reportArgumentType]
    assert labels.tolist() == [0, 0, 0, 1, 2, 2, 0, 2, 2]


def test_the_first_workers_of_a_larger_crowd_are_the_smaller_crowd() -> None:
    small = simulate_crowd(TRUTH, transitions(n_workers=3), seed=2).to_dense()
    large = simulate_crowd(TRUTH, transitions(n_workers=12), seed=2).to_dense()
    assert (large[:, :3] == small).all()


def test_the_same_seed_gives_the_same_crowd_and_another_another() -> None:
    first, again, other = (simulate_crowd(TRUTH, transitions(), seed=s).to_dense() for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize(
    ("rule", "rate", "n_workers", "left"),
    [
        ("floor", 0.1, 9, 9),
        ("floor", 0.3, 9, 7),
        ("floor", 0.3, 12, 9),
        ("floor", 0.3, 3, 3),
        ("round", 0.3, 9, 6),
        ("round", 0.3, 3, 2),
    ],
)
def test_missing_rules_remove_the_same_number_of_labels_an_item(rule, rate: float, n_workers: int, left: int) -> None:
    crowd = simulate_crowd(TRUTH, transitions(n_workers=n_workers), missing_rate=rate, missing=rule, seed=0)
    assert set(crowd.labels_per_item.tolist()) == {left}
    # Which ones is a fair draw.
    assert crowd.labels_per_worker / len(TRUTH) == pytest.approx(left / n_workers, abs=0.03)


def test_bernoulli_removes_each_label_with_the_rate() -> None:
    crowd = simulate_crowd(TRUTH, transitions(), missing_rate=0.4, missing="bernoulli", seed=0)
    assert crowd.n_annotations / (4 * len(TRUTH)) == pytest.approx(0.6, abs=0.01)
    assert len(set(crowd.labels_per_item.tolist())) == 5


def test_floor_is_not_fooled_by_rounding() -> None:
    crowd = simulate_crowd(TRUTH[:50], transitions(n_workers=100), missing_rate=0.29, seed=0)
    assert set(crowd.labels_per_item.tolist()) == {71}


@given(st.sampled_from([0.1, 0.3, 0.5]), st.integers(2, 9))
def test_a_higher_missing_rate_removes_what_a_lower_one_does(rate: float, n_workers: int) -> None:
    full, some, more = (
        simulate_crowd(TRUTH[:40], transitions(n_workers=n_workers), missing_rate=r, seed=3).to_dense()
        for r in (0.0, rate, rate + 0.2 if rate + 0.2 < 1 - 1 / n_workers else rate)
    )
    assert (more[some < 0] < 0).all()
    assert (some[some >= 0] == full[some >= 0]).all()


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"missing_rate must be in \[0, 1\), got 1"):
        simulate_crowd(TRUTH, transitions(), missing_rate=1)
    with pytest.raises(ValueError, match="missing must be one of floor, round, bernoulli, got 'ceil'"):
        simulate_crowd(TRUTH, transitions(), missing="ceil")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="removes all 2 labels"):
        simulate_crowd(TRUTH, transitions(n_workers=2), missing_rate=0.9, missing="round")
    with pytest.raises(ValueError, match="must sum to one"):
        simulate_crowd(TRUTH, np.full((1, 10, 10), 0.2))
    with pytest.raises(ValueError, match="n_workers must be at least 1, got 0"):
        transitions(n_workers=0)
    with pytest.raises(ValueError, match="unknown worker model 'homogenous'; did you mean homogeneous"):
        make_workers("homogenous", make_pattern("uniform", 0.5, "digits"), 2, 10, np.random.default_rng(0))


# ------------------------------------------------------------------------- sparse designs, copies, hard items

BALANCED = make_assignment("balanced", {"labels_per_item": 3})


def test_a_sparse_crowd_follows_the_matrices_and_the_design() -> None:
    truth = np.arange(200_000) % 10
    matrices = np.random.default_rng(1).dirichlet(np.ones(10) * 0.5, size=(5, 10))
    crowd = simulate_crowd(truth, matrices, assignment=BALANCED, seed=5)
    assert set(crowd.labels_per_item.tolist()) == {3}
    assert set(crowd.labels_per_worker.tolist()) == {120_000}
    for worker in range(5):
        mine = crowd.worker == worker
        drawn = np.bincount(truth[crowd.item[mine]] * 10 + crowd.label[mine], minlength=100).reshape(10, 10) / 12_000
        assert np.abs(drawn - matrices[worker]).max() < 0.02


def test_impossible_labels_are_never_given() -> None:
    matrix = np.array([[1.0, 0, 0], [0, 0.5, 0.5], [0.5, 0.5, 0]])
    truth = np.arange(30_000) % 3
    for difficulty in (0.0, 1.0):
        crowd = simulate_crowd(truth, np.tile(matrix, (4, 1, 1)), assignment=BALANCED, difficulty=difficulty, seed=0)
        assert (matrix[truth[crowd.item], crowd.label] > 0).all()


def test_a_worker_answers_an_item_alike_whoever_else_is_asked() -> None:
    matrices = transitions(n_workers=6)
    three, five = (
        simulate_crowd(
            TRUTH, matrices, assignment=make_assignment("balanced", {"labels_per_item": r}), seed=3
        ).to_dense()
        for r in (3, 5)
    )
    both = (three >= 0) & (five >= 0)
    assert both.mean() > 0.3
    assert (three[both] == five[both]).all()


def test_copies_answer_alike_in_a_sparse_design() -> None:
    workers = make_workers("colluding_copies", make_pattern("uniform", 0.6, "cifar10"), 8, 10, np.random.default_rng(0))
    assert workers.source is not None
    dense = simulate_crowd(TRUTH, workers, assignment=BALANCED, seed=3).to_dense()
    copies = np.flatnonzero(workers.source == 0)
    assert len(copies) > 2
    for first in copies:
        for second in copies:
            both = (dense[:, first] >= 0) & (dense[:, second] >= 0)
            assert (dense[both, first] == dense[both, second]).all()


def test_labels_go_missing_from_a_sparse_crowd() -> None:
    crowd = simulate_crowd(TRUTH, transitions(n_workers=6), assignment=BALANCED, missing_rate=0.4, seed=3)
    assert set(crowd.labels_per_item.tolist()) == {2}


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_hard_items_keep_a_workers_mean_error_and_make_workers_err_together(spread: float) -> None:
    truth = np.arange(60_000) % 10
    matrices = np.concatenate([transitions(n_workers=2, rate=0.3), transitions(n_workers=1, rate=0.6)])
    wrong = simulate_crowd(truth, matrices, difficulty=spread, seed=1).to_dense() != truth[:, None]
    assert wrong.mean(axis=0) == pytest.approx([0.3, 0.3, 0.6], abs=0.01)
    # E[e(u)^2] by hand: e(u) = (1 - s) e + s u^a with a = (1 - e) / e, where E u^a = e and E u^2a = 1 / (2 a + 1).
    mean, power = 0.3, 0.7 / 0.3
    both = (1 - spread) ** 2 * mean**2 + 2 * spread * (1 - spread) * mean**2 + spread**2 / (2 * power + 1)
    assert (wrong[:, 0] & wrong[:, 1]).mean() == pytest.approx(both, abs=0.01)


def test_wrong_labels_of_hard_items_are_shared_as_on_average() -> None:
    truth = np.arange(100_000) % 3
    matrix = np.array([[0.5, 0.4, 0.1], [0.1, 0.6, 0.3], [0.2, 0.1, 0.7]])
    labels = simulate_crowd(truth, matrix[None], difficulty=1.0, seed=2).to_dense()[:, 0]
    drawn = np.bincount(truth * 3 + labels, minlength=9).reshape(3, 3) / np.bincount(truth)[:, None]
    assert drawn == pytest.approx(matrix, abs=0.012)


def test_perfect_and_hopeless_workers_stay_so_on_any_item() -> None:
    matrices = np.stack([np.eye(10), np.roll(np.eye(10), 1, axis=1)])
    dense = simulate_crowd(TRUTH, matrices, difficulty=1.0, seed=2).to_dense()
    assert (dense[:, 0] == TRUTH).all()
    assert (dense[:, 1] == (TRUTH + 1) % 10).all()


def test_difficulty_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"difficulty must be in \[0, 1\], got 2"):
        simulate_crowd(TRUTH, transitions(), difficulty=2)


def test_a_million_items_take_no_dense_array() -> None:
    truth = np.arange(1_000_000) % 10
    matrices = np.broadcast_to(transitions(n_workers=1), (500, 10, 10))
    crowd = simulate_crowd(truth, matrices, assignment=BALANCED, seed=0)  # dense, it would be 2 GB
    assert crowd.n_annotations == 3_000_000
    assert (crowd.label == truth[crowd.item]).mean() == pytest.approx(0.4, abs=0.005)
