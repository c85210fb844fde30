from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.noise import Workers, make_pattern, make_workers

MODELS = ("random", "diagonally_dominant", "separable_uniform", "separable_random")


def workers(model: str, n_workers: int, n_classes: int = 10, rate: float = 0.0, seed: int = 7, **options) -> Workers:
    return make_workers(
        model, make_pattern("uniform", rate, "mine"), n_workers, n_classes, np.random.default_rng(seed), options
    )


def uniform_draws(n_workers: int, n_classes: int, seed: int = 7) -> list[np.ndarray]:
    """The U of each worker: the draws of his own stream."""
    return [stream.random((n_classes, n_classes)) for stream in np.random.default_rng(seed).spawn(n_workers)]


def test_diagonally_dominant_by_hand() -> None:
    made = workers("diagonally_dominant", 2, 3, gamma=0.5).transitions
    for matrix, drawn in zip(made, uniform_draws(2, 3), strict=True):
        for true in range(3):
            row = [(1.0 if label == true else 0.0) + 0.5 * drawn[true, label] for label in range(3)]
            assert matrix[true] == pytest.approx([part / sum(row) for part in row])


def test_random_matrices_are_uniform_rows_over_their_sums() -> None:
    made = workers("random", 2, 3).transitions
    for matrix, drawn in zip(made, uniform_draws(2, 3), strict=True):
        assert matrix == pytest.approx(drawn / drawn.sum(axis=1)[:, None])
    many = workers("random", 3000, 4).transitions
    assert np.diagonal(many, axis1=1, axis2=2).mean() == pytest.approx(1 / 4, abs=0.005)


def test_separable_uniform_is_one_who_knows_and_others_who_barely_do() -> None:
    made = workers("separable_uniform", 4, 10, gamma=0.01).transitions
    assert (made[0] == workers("diagonally_dominant", 1, 10, gamma=0.01).transitions[0]).all()
    # (0.1 + 1e-4) / (1 + 1e-4) on the diagonal, 0.1 / (1 + 1e-4) beside it.
    assert np.diagonal(made[1:], axis1=1, axis2=2) == pytest.approx(0.1001 / 1.0001)
    assert made[1:, 0, 1:] == pytest.approx(0.1 / 1.0001)


def test_separable_random_is_one_who_knows_among_random_ones() -> None:
    made = workers("separable_random", 4, 10, gamma=0.01).transitions
    assert (made[0] == workers("diagonally_dominant", 1, 10, gamma=0.01).transitions[0]).all()
    assert (made[1:] == workers("random", 4, 10).transitions[1:]).all()


@given(st.floats(0, 0.9), st.integers(2, 12))
def test_without_the_random_part_the_good_ones_follow_the_pattern(rate: float, n_classes: int) -> None:
    pattern = make_pattern("uniform", rate, "mine").transition(n_classes, np.random.default_rng(0))
    made = workers("diagonally_dominant", 3, n_classes, rate=rate, gamma=0.0).transitions
    assert made == pytest.approx(np.stack([pattern] * 3))
    for model in ("separable_uniform", "separable_random"):
        assert workers(model, 3, n_classes, rate=rate, gamma=0.0).transitions[0] == pytest.approx(pattern)


@given(st.floats(0.001, 5.0), st.floats(1.1, 3.0))
def test_a_larger_gamma_is_a_larger_error(gamma: float, factor: float) -> None:
    less, more = (workers("diagonally_dominant", 2, 5, gamma=value).transitions for value in (gamma, factor * gamma))
    assert (np.diagonal(more, axis1=1, axis2=2) < np.diagonal(less, axis1=1, axis2=2)).all()


def test_the_error_is_near_gamma_times_half_the_classes() -> None:
    made = workers("diagonally_dominant", 500, 10, gamma=0.01).transitions
    # 9 wrong classes with a mean of 0.005 each, over a sum of about 1.05.
    assert 1 - np.diagonal(made, axis1=1, axis2=2).mean() == pytest.approx(0.045 / 1.05, rel=0.02)


@pytest.mark.parametrize("model", MODELS[1:])
@pytest.mark.parametrize("gamma", [-0.1, float("inf"), float("nan")])
def test_a_gamma_that_cannot_be_is_refused(model: str, gamma: float) -> None:
    with pytest.raises(ValueError, match=f"gamma must be at least 0 and finite, got {gamma}"):
        workers(model, 2, gamma=gamma)


def test_random_workers_have_no_gamma() -> None:
    with pytest.raises(ValueError, match="unknown option of worker model random 'gamma'"):
        workers("random", 2, gamma=0.1)
