from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.datasets.cifar100_classes import COARSE_OF_FINE
from crowdml.noise import PATTERNS, make_pattern
from crowdml.noise.class_pairs import FLIP_PAIRS

RNG = np.random.default_rng(0)


def transition(name: str, n_classes: int = 10, rate: float = 0.6, **options: object) -> np.ndarray:
    dataset = "cifar10" if n_classes == 10 else "cifar100"
    return make_pattern(name, rate, dataset, options).transition(n_classes, RNG)


def test_uniform_excludes_the_true_class_unless_asked() -> None:
    matrix = transition("uniform", rate=0.6)
    assert np.diag(matrix) == pytest.approx(0.4)
    assert matrix[0, 1] == pytest.approx(0.6 / 9)
    assert np.diag(transition("uniform", include_true=True)) == pytest.approx(0.4 + 0.06)


def test_bimodal_piles_up_on_classes_three_and_seven_of_any_number() -> None:
    for n_classes in (10, 100):
        drawn = transition("bimodal", n_classes)[0] - 0.4 * np.eye(n_classes)[0]
        assert set(np.argsort(drawn)[-2:]) == {3, 7}
        # Half the mass is N(7, .5): at 7 it has density .7979, at 6 and 8 each .1080.
        assert drawn[7] / 0.6 == pytest.approx(0.5 * 0.7979 / (0.7979 + 2 * 0.1080), abs=0.002)
    excluded = transition("bimodal", include_true=False)
    assert np.diag(excluded) == pytest.approx(0.4)


def test_bimodal_is_truncated_at_the_first_class() -> None:
    floor = transition("bimodal", rate=0.9, discretise="floor")
    assert floor.sum(axis=1) == pytest.approx(1)
    rounded = transition("bimodal", rate=0.9, discretise="round")
    assert not np.allclose(floor, rounded)


def test_flip_moves_the_paired_classes_only() -> None:
    pattern = make_pattern("flip", 0.6, "cifar10")
    matrix = pattern.transition(10, RNG)
    assert matrix[2, 0] == matrix[9, 1] == matrix[4, 7] == matrix[3, 5] == matrix[5, 3] == 0.6
    assert np.flatnonzero(pattern.affected(10)).tolist() == [2, 3, 4, 5, 9]
    assert (matrix[~pattern.affected(10)] == np.eye(10)[~pattern.affected(10)]).all()


def test_cifar100_flips_one_mutual_pair_in_each_superclass() -> None:
    pairs = FLIP_PAIRS["cifar100"]
    assert len(pairs) == 40
    assert {(target, source) for source, target in pairs} == set(pairs)
    coarse = [COARSE_OF_FINE[source] for source, target in pairs if COARSE_OF_FINE[source] == COARSE_OF_FINE[target]]
    assert sorted(coarse) == sorted([*range(20), *range(20)])


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="unknown noise pattern 'unifrom'; did you mean uniform"):
        make_pattern("unifrom", 0.5, "digits")
    with pytest.raises(ValueError, match=r"noise_rate must be in \[0, 1\), got 1.2"):
        make_pattern("uniform", 1.2, "digits")
    with pytest.raises(ValueError, match="option of pattern uniform 'pairs'"):
        make_pattern("uniform", 0.5, "digits", {"pairs": ()})
    with pytest.raises(ValueError, match="no class pairs for 'mine'"):
        make_pattern("flip", 0.5, "mine")
    with pytest.raises(ValueError, match="distinct sources"):
        make_pattern("flip", 0.5, "mine", {"pairs": ((1, 1),)})
    with pytest.raises(ValueError, match="name class 9, but there are 3"):
        make_pattern("flip", 0.5, "digits", {"pairs": ((9, 1),)}).transition(3, RNG)


@given(st.sampled_from(sorted(PATTERNS)), st.floats(0, 0.99), st.sampled_from([10, 100]))
def test_rows_are_distributions(name: str, rate: float, n_classes: int) -> None:
    matrix = transition(name, n_classes, rate)
    assert (matrix >= 0).all()
    assert matrix.sum(axis=1) == pytest.approx(1)
