from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.noise import make_assignment
from crowdml.noise.counter_random import make_key


def ask(name: str, n_items: int, n_workers: int, seed: int = 0, **options: object) -> np.ndarray:
    return make_assignment(name, options).ask(n_items, n_workers, make_key(seed, 0))


@given(st.data(), st.sampled_from(["balanced", "power_law"]))
def test_each_item_has_different_workers(data: st.DataObject, name: str) -> None:
    n_workers = data.draw(st.integers(1, 12))
    n_labels = data.draw(st.integers(1, n_workers))
    n_items = data.draw(st.integers(1, 40))
    asked = ask(name, n_items, n_workers, data.draw(st.integers(0, 99)), labels_per_item=n_labels)
    assert asked.shape == (n_items, n_labels)
    assert 0 <= asked.min() <= asked.max() < n_workers
    assert all(len(set(row)) == n_labels for row in asked.tolist())
    if name == "balanced":
        load = np.bincount(asked.ravel(), minlength=n_workers)
        assert load.max() - load.min() <= 1


def test_balanced_takes_every_set_of_workers_equally_often() -> None:
    asked = np.sort(ask("balanced", 30_000, 5, labels_per_item=3), axis=1)
    sets, counts = np.unique(asked, axis=0, return_counts=True)
    assert sets.tolist() == [list(chosen) for chosen in combinations(range(5), 3)]
    # 3,000 expected; items that share a deck are not independent, which only evens the counts out.
    assert np.abs(counts - 3000).max() < 4 * np.sqrt(3000)


def test_power_law_follows_its_odds() -> None:
    load = np.bincount(ask("power_law", 60_000, 50, labels_per_item=1, exponent=1.5).ravel(), minlength=50)
    odds = np.arange(1, 51) ** -1.5
    assert load / 60_000 == pytest.approx(odds / odds.sum(), abs=0.007)
    even = np.bincount(ask("power_law", 60_000, 50, labels_per_item=1, exponent=0).ravel(), minlength=50)
    assert even / 60_000 == pytest.approx(np.full(50, 0.02), abs=0.003)


def test_power_law_draws_one_after_the_other_without_repeats() -> None:
    asked = ask("power_law", 60_000, 3, labels_per_item=2, exponent=1.0)
    # Odds 6 : 3 : 2.  First worker 0 (6/11), then worker 1 with 3/5.
    assert ((asked[:, 0] == 0) & (asked[:, 1] == 1)).mean() == pytest.approx(6 / 11 * 3 / 5, abs=0.01)


def test_the_seed_decides() -> None:
    first, again, other = (ask("balanced", 100, 20, seed, labels_per_item=3) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_every_item_asks_everybody() -> None:
    assert ask("every_item", 2, 3).tolist() == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("balancd", {}, "unknown assignment 'balancd'; did you mean balanced"),
        ("balanced", {}, "assignment balanced needs the assignment option labels_per_item"),
        ("balanced", {"labels_per_item": 0}, "labels_per_item must be a whole number of at least 1, got 0"),
        ("balanced", {"labels_per_item": 1.5}, "labels_per_item must be a whole number of at least 1, got 1.5"),
        ("balanced", {"labels_per_item": 6}, "labels_per_item must be at most n_workers = 5, got 6"),
        ("balanced", {"labels_per_item": 2, "exponent": 1}, "unknown option of assignment balanced 'exponent'"),
        ("power_law", {"labels_per_item": 2, "exponent": -1}, "exponent must be at least 0, got -1"),
    ],
)
def test_errors_name_what_is_wrong(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(name, 10, 5, **options)
