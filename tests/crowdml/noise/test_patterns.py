from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.datasets.cifar100_classes import COARSE_OF_FINE
from crowdml.noise import PATTERNS, make_pattern
from crowdml.noise.class_pairs import FLIP_PAIRS
from crowdml.noise.patterns import with_rate

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
    with pytest.raises(ValueError, match="pattern asymmetric has no class pairs for 'mine'"):
        make_pattern("asymmetric", 0.5, "mine")
    with pytest.raises(ValueError, match=r"spread must be in \[0, 1\], got 2"):
        make_pattern("item_difficulty", 0.5, "mine", {"spread": 2})
    with pytest.raises(ValueError, match="n_targets must be at least 1, got 0"):
        make_pattern("random_simplex", 0.5, "mine", {"n_targets": 0})
    with pytest.raises(ValueError, match="distinct sources"):
        make_pattern("flip", 0.5, "mine", {"pairs": ((1, 1),)})
    with pytest.raises(ValueError, match="name class 9, but there are 3"):
        make_pattern("flip", 0.5, "digits", {"pairs": ((9, 1),)}).transition(3, RNG)


def test_symmetric_is_uniform_over_the_others_or_over_all() -> None:
    assert (transition("symmetric") == transition("uniform")).all()
    # DivideMix and kin: the rate is spread over all classes, so a tenth of it is right.
    assert np.diag(transition("symmetric", rate=0.5, include_true=True)) == pytest.approx(0.55)


def test_pair_moves_each_class_to_the_next() -> None:
    matrix = transition("pair", 4, rate=0.45)
    expected = np.array([[0.55, 0.45, 0, 0], [0, 0.55, 0.45, 0], [0, 0, 0.55, 0.45], [0.45, 0, 0, 0.55]])
    assert matrix == pytest.approx(expected)


def test_permutation_of_ten_classes_is_reeds() -> None:
    pattern = make_pattern("permutation", 0.46, "mnist")
    matrix = pattern.transition(10, RNG)
    assert np.diag(matrix) == pytest.approx(0.54)
    assert (matrix - np.diag(np.diag(matrix))).argmax(axis=1).tolist() == [7, 9, 0, 4, 2, 1, 3, 5, 6, 8]
    assert pattern.affected(10).all()


def test_permutation_of_other_numbers_is_drawn_and_moves_every_class() -> None:
    pattern = make_pattern("permutation", 0.4, "cifar100")
    drawn = [pattern.transition(5, np.random.default_rng(seed)) for seed in range(200)]
    assert all(np.diag(matrix) == pytest.approx(0.6) for matrix in drawn)
    assert all((matrix.sum(axis=0) == pytest.approx(1)) and (matrix == 0.4).sum() == 5 for matrix in drawn)
    assert (drawn[7] == pattern.transition(5, np.random.default_rng(7))).all()
    # Of five classes there are 44 such permutations; in 200 draws most of them are seen.
    assert len({matrix.tobytes() for matrix in drawn}) > 35


def test_permutation_may_be_given_and_may_leave_classes_alone() -> None:
    pattern = make_pattern("permutation", 0.3, "mine", {"permutation": [1, 0, 2]})
    assert pattern.transition(3, RNG) == pytest.approx(np.array([[0.7, 0.3, 0], [0.3, 0.7, 0], [0, 0, 1]]))
    assert pattern.affected(3).tolist() == [True, True, False]
    with pytest.raises(ValueError, match="permutation has 3 classes, but there are 4"):
        pattern.transition(4, RNG)
    for wrong in ((0, 1, 2), (1, 1, 0), (1, 2, 3)):
        with pytest.raises(ValueError, match="permutation must name each class from 0 once"):
            make_pattern("permutation", 0.3, "mine", {"permutation": wrong})
    with pytest.raises(ValueError, match="needs at least 2 classes, got 1"):
        make_pattern("permutation", 0.3, "mine").transition(1, RNG)


def test_asymmetric_is_patrinis() -> None:
    assert (transition("asymmetric") == transition("flip")).all()
    matrix = make_pattern("asymmetric", 0.4, "cifar100").transition(100, RNG)
    assert np.diag(matrix) == pytest.approx(0.6)
    target = np.argsort(matrix, axis=1)[:, -2]
    coarse = np.array(COARSE_OF_FINE)
    assert (coarse[target] == coarse).all()
    assert sorted(target.tolist()) == list(range(100))
    # Five steps go round a super-class of five.
    reached = np.arange(100)
    for step in range(1, 6):
        reached = target[reached]
        assert (reached == np.arange(100)).all() == (step == 5)
    assert make_pattern("asymmetric", 0.4, "mnist").transition(10, RNG)[7, 1] == 0.4


def test_random_simplex_has_the_rate_and_even_rows() -> None:
    pattern = make_pattern("random_simplex", 0.4, "mine")
    drawn = np.stack([pattern.transition(4, RNG) for _ in range(4000)])
    assert np.diagonal(drawn, axis1=1, axis2=2) == pytest.approx(0.6)
    share = drawn[:, 0, 1] / 0.4
    # On the simplex of three classes a share follows Beta(1, 2): mean 1/3, variance 1/18.
    assert share.mean() == pytest.approx(1 / 3, abs=0.015)
    assert share.var() == pytest.approx(1 / 18, abs=0.005)


def test_random_simplex_on_a_few_classes() -> None:
    matrix = transition("random_simplex", 100, rate=0.4, n_targets=10)
    assert ((matrix > 0).sum(axis=1) == 11).all()
    assert np.diag(matrix) == pytest.approx(0.6)
    assert ((transition("random_simplex", n_targets=40) > 0).sum(axis=1) == 10).all()


def test_item_difficulty_is_uniform_on_average() -> None:
    assert (transition("item_difficulty", spread=0.5) == transition("uniform")).all()


def test_another_rate_of_a_pattern_keeps_its_options() -> None:
    pattern = make_pattern("bimodal", 0.4, "digits", {"discretise": "round"})
    assert with_rate(pattern, 0.1) == make_pattern("bimodal", 0.1, "digits", {"discretise": "round"})


@given(st.sampled_from(sorted(PATTERNS)), st.floats(0, 0.99), st.sampled_from([10, 100]))
def test_rows_are_distributions(name: str, rate: float, n_classes: int) -> None:
    matrix = transition(name, n_classes, rate)
    assert (matrix >= 0).all()
    assert matrix.sum(axis=1) == pytest.approx(1)
