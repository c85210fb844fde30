from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.agreement import fleiss_kappa, krippendorff_alpha, pairwise_agreement
from crowdml.labels import CrowdLabels
from tests.crowds import crowds

NONE = -1
# Four observers, twelve units, five categories: the example of Krippendorff (2011).
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
).T
# Ten subjects, fourteen raters, five categories: the votes of the worked example of Fleiss' kappa.
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]
)  # fmt: skip


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example(level, alpha: float) -> None:
    crowd = CrowdLabels.from_dense(np.where(KRIPPENDORFF > 0, KRIPPENDORFF - 1, NONE), n_classes=5)
    assert krippendorff_alpha(crowd, level) == pytest.approx(alpha, abs=5e-4)


def test_fleiss_worked_example() -> None:
    dense = np.stack([np.repeat(np.arange(5), votes) for votes in FLEISS])
    assert fleiss_kappa(CrowdLabels.from_dense(dense)) == pytest.approx(0.210, abs=5e-4)


def test_agreement_of_each_two_workers_by_hand() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0, -1], [1, 0, 1], [1, 1, 1], [-1, 2, -1]]), n_classes=3)
    pairs = pairwise_agreement(crowd).set_index(["first", "second"])
    assert pairs.n_shared.to_dict() == {(0, 1): 3, (0, 2): 2, (1, 2): 2}
    assert pairs.agreement.to_dict() == {(0, 1): pytest.approx(2 / 3), (0, 2): 1, (1, 2): 0.5}


@pytest.mark.parametrize("dense", [[[0, -1], [-1, 1]], [[0, 0], [0, 0]]])
def test_without_pairs_or_with_one_class_it_is_not_defined(dense) -> None:
    crowd = CrowdLabels.from_dense(np.array(dense), n_classes=2)
    assert np.isnan(fleiss_kappa(crowd))
    assert np.isnan(krippendorff_alpha(crowd))


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="level must be one of nominal, ordinal, interval, got 'ratio'"):
        krippendorff_alpha(CrowdLabels.from_dense(np.array([[0, 1]])), "ratio")  # pyright: ignore[reportArgumentType]


@given(crowds(max_items=8), st.integers(0, 2**32 - 1))
def test_measures_are_those_of_all_pairs_written_out(crowd: CrowdLabels, seed: int) -> None:
    dense = crowd.to_dense()
    pairs = [
        (row[a], row[b], 1 / ((row >= 0).sum() - 1))
        for row in dense
        for a in range(crowd.n_workers)
        for b in range(crowd.n_workers)
        if a != b and min(row[a], row[b]) >= 0
    ]
    alpha = krippendorff_alpha(crowd)
    total = np.zeros(crowd.n_classes)
    for first, _, weight in pairs:
        total[first] += weight
    chance = total.sum() ** 2 - (total**2).sum()
    if pairs and chance > 1e-9:
        observed = sum(weight for first, second, weight in pairs if first != second)
        assert alpha == pytest.approx(1 - observed * (total.sum() - 1) / chance, abs=1e-9)
    else:
        assert np.isnan(alpha)
    table = pairwise_agreement(crowd).set_index(["first", "second"])
    for a, b in combinations(range(crowd.n_workers), 2):
        both = (dense[:, a] >= 0) & (dense[:, b] >= 0)
        assert ((a, b) in table.index) == bool(both.any())
        if both.any():
            assert table.loc[(a, b), "agreement"] == pytest.approx((dense[both, a] == dense[both, b]).mean())
    order = np.random.default_rng(seed).permutation(crowd.n_classes)
    renamed = CrowdLabels.from_dense(np.where(dense >= 0, order[dense], -1), n_classes=crowd.n_classes)
    assert krippendorff_alpha(renamed) == pytest.approx(alpha, nan_ok=True)
    assert fleiss_kappa(renamed) == pytest.approx(fleiss_kappa(crowd), nan_ok=True)


@given(crowds())
def test_the_order_of_ordered_classes_may_be_reversed(crowd: CrowdLabels) -> None:
    dense = crowd.to_dense()
    turned = CrowdLabels.from_dense(np.where(dense >= 0, crowd.n_classes - 1 - dense, -1), n_classes=crowd.n_classes)
    for level in ("ordinal", "interval"):
        assert krippendorff_alpha(turned, level) == pytest.approx(krippendorff_alpha(crowd, level), nan_ok=True)
