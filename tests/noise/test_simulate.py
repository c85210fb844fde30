from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.noise import make_pattern, simulate_crowd, worker_transitions
from crowdml.noise.simulate import _draw

TRUTH = np.arange(6000) % 10


def transitions(name: str = "uniform", n_workers: int = 4, rate: float = 0.6) -> np.ndarray:
    pattern = make_pattern(name, rate, "cifar10")
    return worker_transitions("homogeneous", pattern, n_workers, 10, np.random.default_rng(0))


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
        worker_transitions("homogenous", make_pattern("uniform", 0.5, "digits"), 2, 10, np.random.default_rng(0))
