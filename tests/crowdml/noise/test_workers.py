from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.noise import WORKER_MODELS, Workers, make_pattern, make_workers, simulate_crowd

MANY = 4000


def workers(
    model: str, n_workers: int = MANY, pattern: str = "uniform", rate: float = 0.3, **options: object
) -> Workers:
    chosen = make_pattern(pattern, rate, "cifar10")
    return make_workers(model, chosen, n_workers, 10, np.random.default_rng(7), options)


def right(made: Workers) -> np.ndarray:
    """(n_workers,) mean probability of a right label."""
    return np.diagonal(made.transitions, axis1=1, axis2=2).mean(axis=1)


@given(
    st.sampled_from(sorted(WORKER_MODELS)), st.sampled_from(["uniform", "flip", "random_simplex", "item_difficulty"])
)
def test_fewer_workers_are_the_first_of_more(model: str, pattern: str) -> None:
    few, more = (workers(model, n_workers, pattern) for n_workers in (3, 8))
    assert (more.transitions[:3] == few.transitions).all()
    assert np.allclose(more.transitions.sum(axis=2), 1)
    assert (more.transitions >= 0).all()
    if more.source is not None and few.source is not None:
        assert (more.source[:3] == few.source).all()


def test_a_share_are_hammers_and_the_others_know_nothing() -> None:
    made = workers("hammer_spammer", hammers=0.3)
    spams = (made.transitions == 0.1).all(axis=(1, 2))
    assert spams.mean() == pytest.approx(0.7, abs=0.03)
    assert right(made)[~spams] == pytest.approx(0.7)


def test_abilities_are_beta_around_the_rate() -> None:
    wrong = 1 - right(workers("beta_ability", concentration=4.0))
    assert wrong.mean() == pytest.approx(0.3, abs=0.015)
    # Beta(1.2, 2.8): variance .3 * .7 / 5.
    assert wrong.var() == pytest.approx(0.042, abs=0.004)
    assert (right(workers("beta_ability", 5, rate=0.0)) == 1).all()


def test_experts_among_beginners() -> None:
    shares, counts = np.unique(right(workers("experts_among_beginners", experts=0.25)).round(6), return_counts=True)
    assert shares.tolist() == [0.7, 0.95]
    assert counts[1] / MANY == pytest.approx(0.25, abs=0.03)


def test_copies_are_copies_of_the_first_worker_label_by_label() -> None:
    made = workers("colluding_copies", 30, copiers=0.4)
    assert made.source is not None
    copies = np.flatnonzero(made.source != np.arange(30))
    assert 5 <= len(copies) <= 20
    assert (made.source[copies] == 0).all()
    dense = simulate_crowd(np.arange(500) % 10, made, seed=1).to_dense()
    for worker in range(1, 30):
        agree = (dense[:, worker] == dense[:, 0]).mean()
        # Two workers who are right with .7 agree with .49 + .09 / 9 = .5.
        assert agree == 1 if worker in copies else 0.4 < agree < 0.6


def test_adversaries_flip_two_classes_and_avoid_what_they_see_of_more() -> None:
    binary = make_workers("adversaries", make_pattern("uniform", 0.2, "mine"), 200, 2, np.random.default_rng(0), {})
    assert sorted(set(right(binary).round(6))) == [0.2, 0.8]
    seen = workers("adversaries", 1, rate=0.3, adversaries=1.0).transitions[0]
    # He sees the class with .7 and then never says it; else says it with 1/9.
    assert np.diag(seen) == pytest.approx(0.3 / 9)


def test_class_wise_experts_know_their_own_classes() -> None:
    made = workers("class_wise_experts", 1000, known_classes=0.4, expert_rate=0.1)
    diagonal = np.diagonal(made.transitions, axis1=1, axis2=2)
    assert set(diagonal.ravel().round(6)) == {0.7, 0.9}
    good = diagonal > 0.8
    assert good.mean(axis=0) == pytest.approx(np.full(10, 0.4), abs=0.06)
    assert good.sum(axis=1).std() > 1


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("hamer_spammer", {}, "unknown worker model 'hamer_spammer'; did you mean hammer_spammer"),
        (
            "hammer_spammer",
            {"hamers": 0.5},
            "unknown option of worker model hammer_spammer 'hamers'; did you mean hammers",
        ),
        ("hammer_spammer", {"hammers": 1.5}, r"hammers must be in \[0, 1\], got 1.5"),
        ("beta_ability", {"concentration": 0}, "concentration must be above 0, got 0"),
        ("experts_among_beginners", {"expert_rate": -1}, r"expert_rate must be in \[0, 1\], got -1"),
        ("class_wise_experts", {"known_classes": 2}, r"known_classes must be in \[0, 1\], got 2"),
        ("colluding_copies", {"copiers": 2}, r"copiers must be in \[0, 1\], got 2"),
        ("adversaries", {"adversaries": 2}, r"adversaries must be in \[0, 1\], got 2"),
    ],
)
def test_errors_name_what_is_wrong(model: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        workers(model, 2, **options)


def test_a_copy_must_copy_somebody_who_does_not() -> None:
    matrices = np.tile(np.eye(2), (3, 1, 1))
    for source in ([0, 0, 1], [0, 1, 3], [0, 1]):
        with pytest.raises(ValueError, match="source must name a worker who copies nobody for each of 3 workers"):
            Workers(matrices, np.array(source))
