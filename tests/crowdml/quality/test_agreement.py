from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.labels import CrowdLabels
from crowdml.quality.agreement import (
    Level,
    UndefinedAgreementWarning,
    fleiss_kappa,
    krippendorff_alpha,
    pairwise_agreement,
    why_no_alpha,
    why_no_kappa,
)
from tests.crowds import crowds, real_crowd, simulated

Array = np.ndarray
LEVELS: list[Level] = ["nominal", "ordinal", "interval"]


def krippendorff_example() -> CrowdLabels:
    """Return the example of Krippendorff (2011): four observers, twelve units, five values, with gaps."""
    gap = 0
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, gap, gap, gap],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, gap, 3],
        [gap, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, gap],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, gap],
    ]
    return CrowdLabels.from_dense(np.array(observers).T - 1, n_classes=5)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_example(level, alpha: float) -> None:
    assert krippendorff_alpha(krippendorff_example(), level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_by_hand() -> None:
    # Items (0, 0), (0, 1), (1, 1, 1), and one single label.  Coincidences: o00 = 2, o01 = o10 = 1, o11 = 3; sum 7.
    crowd = CrowdLabels.from_dense(np.array([[0, 0, -1], [0, 1, -1], [1, 1, 1], [0, -1, -1]]))
    # Expected: n0 = 3, n1 = 4, so 2 * 3 * 4 / 6 disagreeing; observed 2.
    assert krippendorff_alpha(crowd) == pytest.approx(1 - 2 / 4)


def test_fleiss_kappa_of_a_textbook_table() -> None:
    # Ten items, fourteen raters, five categories: a table in many textbooks, kappa = 0.210.
    table = np.array([
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ])  # fmt: skip
    dense = np.stack([np.repeat(np.arange(5), row) for row in table])
    assert fleiss_kappa(CrowdLabels.from_dense(dense, n_classes=5)) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_by_hand_with_different_numbers_of_labels() -> None:
    # Items (0, 0), (0, 1, 1) and (1).  P = (1 + 1/3) / 2; shares of 0: (1 + 1/3 + 0) / 3 = 4/9, of 1: 5/9.
    crowd = CrowdLabels.from_dense(np.array([[0, 0, -1], [0, 1, 1], [1, -1, -1]]))
    chance = (16 + 25) / 81
    assert fleiss_kappa(crowd) == pytest.approx((2 / 3 - chance) / (1 - chance))


def test_cohens_kappa_by_hand() -> None:
    # Both say yes to 20 items and no to 15.  Only the first says yes to 5, only the second to 10: kappa = (.7 - .5) /
    # .5.
    pairs = [(1, 1)] * 20 + [(0, 0)] * 15 + [(1, 0)] * 5 + [(0, 1)] * 10
    result = pairwise_agreement(CrowdLabels.from_dense(np.array(pairs)))
    assert (result.worker.tolist(), result.other.tolist(), result.n_shared.tolist()) == ([0], [1], [50])
    assert result.share == pytest.approx([0.7])
    assert result.kappa == pytest.approx([0.4])
    assert result.matrix(result.kappa) == pytest.approx(np.array([[np.nan, 0.4], [0.4, np.nan]]), nan_ok=True)


def test_each_two_workers_by_hand() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0, -1], [1, 0, 1], [1, 1, 1], [-1, 2, -1]]), n_classes=3)
    pairs = pairwise_agreement(crowd).to_frame(crowd).set_index(["worker", "other"])
    assert pairs["n_shared"].to_dict() == {(0, 1): 3, (0, 2): 2, (1, 2): 2}
    assert pairs["agreement"].to_dict() == {(0, 1): pytest.approx(2 / 3), (0, 2): 1, (1, 2): 0.5}


def written_out(crowd: CrowdLabels) -> tuple[Array, Array]:
    """Compute share and kappa of each two workers from all pairs of annotations."""
    share, kappa = (np.full((crowd.n_workers, crowd.n_workers), np.nan) for _ in range(2))
    rows = list(zip(crowd.item, crowd.worker, crowd.label, strict=True))
    for w in range(crowd.n_workers):
        for v in range(crowd.n_workers):
            pairs = [
                (first[2], second[2])
                for at, first in enumerate(rows)
                for other, second in enumerate(rows)
                if at != other and first[0] == second[0] and (first[1], second[1]) == (w, v)
            ]
            if pairs:
                mine, theirs = np.array(pairs).T
                share[w, v] = (mine == theirs).mean()
                chance = sum((mine == c).mean() * (theirs == c).mean() for c in range(crowd.n_classes))
                if chance < 1:
                    kappa[w, v] = (share[w, v] - chance) / (1 - chance)
    return share, kappa


@given(crowds(), st.integers(0, 2**32 - 1))
def test_pairs_agree_with_pairs_written_out(crowd: CrowdLabels, seed: int) -> None:
    rng = np.random.default_rng(seed)
    again = np.append(np.arange(crowd.n_annotations), rng.integers(0, crowd.n_annotations, 3))
    repeated = CrowdLabels(
        crowd.item[again], crowd.worker[again], rng.integers(0, crowd.n_classes, len(again)),
        n_items=crowd.n_items, n_workers=crowd.n_workers, n_classes=crowd.n_classes, repeats="keep",
    )  # fmt: skip
    result = pairwise_agreement(repeated)
    share, kappa = written_out(repeated)
    assert result.matrix(result.share) == pytest.approx(share, nan_ok=True)
    assert result.matrix(result.kappa) == pytest.approx(kappa, nan_ok=True)
    frame = result.to_frame(repeated)
    pairs = [(w, v) for w, v in combinations(range(crowd.n_workers), 2) if not np.isnan(share[w, v])]
    assert list(zip(frame["worker"], frame["other"], strict=True)) == pairs
    assert frame["agreement"].to_numpy() == pytest.approx(np.array([share[pair] for pair in pairs]))
    assert frame["kappa"].to_numpy() == pytest.approx(np.array([kappa[pair] for pair in pairs]), nan_ok=True)
    n_shared = result.matrix(result.n_shared)
    assert (frame["n_shared"] == [n_shared[pair] for pair in pairs]).all()


@given(crowds(), st.sampled_from(LEVELS), st.integers(0, 2**32 - 1))
def test_alpha_agrees_with_pairs_written_out(crowd: CrowdLabels, level, seed: int) -> None:
    labels = [own for own in (crowd.label[crowd.item == item] for item in range(crowd.n_items)) if len(own) > 1]
    values = np.random.default_rng(seed).normal(size=crowd.n_classes)
    everything = np.concatenate(labels) if labels else np.empty(0, int)
    n_of = np.bincount(everything, minlength=crowd.n_classes)

    def difference(a: int, b: int) -> float:
        low, high = sorted((a, b))
        if level == "ordinal":
            return float(n_of[low : high + 1].sum() - (n_of[low] + n_of[high]) / 2) ** 2
        return float((values[a] - values[b]) ** 2) if level == "interval" else float(a != b)

    observed = sum(difference(a, b) / (len(own) - 1) for own in labels for a, b in _ordered_pairs(own))
    expected = sum(difference(a, b) for a, b in _ordered_pairs(everything))
    alpha = krippendorff_alpha(crowd, level, values=values if level == "interval" else None)
    theirs = 1 - observed * (len(everything) - 1) / expected if expected else np.nan
    assert alpha == pytest.approx(theirs, nan_ok=True)


def _ordered_pairs(labels: Array) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for at, a in enumerate(labels) for to, b in enumerate(labels) if at != to]


@given(crowds(), st.integers(0, 2**32 - 1))
def test_statistics_do_not_depend_on_the_order_of_workers_items_and_classes(crowd: CrowdLabels, seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, workers, items = (rng.permutation(n) for n in (crowd.n_classes, crowd.n_workers, crowd.n_items))
    dense = crowd.to_dense()
    turned = CrowdLabels.from_dense(
        np.where(dense >= 0, classes[dense], -1)[items][:, workers], n_classes=crowd.n_classes
    )
    assert fleiss_kappa(turned) == pytest.approx(fleiss_kappa(crowd), nan_ok=True)
    assert krippendorff_alpha(turned) == pytest.approx(krippendorff_alpha(crowd), nan_ok=True)
    ours, theirs = pairwise_agreement(crowd), pairwise_agreement(turned)
    expected = ours.matrix(ours.kappa)[np.ix_(workers, workers)]
    assert theirs.matrix(theirs.kappa) == pytest.approx(expected, nan_ok=True)


@given(crowds())
def test_the_order_of_ordered_classes_may_be_reversed(crowd: CrowdLabels) -> None:
    dense = crowd.to_dense()
    turned = CrowdLabels.from_dense(np.where(dense >= 0, crowd.n_classes - 1 - dense, -1), n_classes=crowd.n_classes)
    for level in ("ordinal", "interval"):
        assert krippendorff_alpha(turned, level) == pytest.approx(krippendorff_alpha(crowd, level), nan_ok=True)


@pytest.mark.parametrize("dense", [[[0, -1], [-1, 1]], [[0, -1, -1]], [[0, 0, 0], [0, 0, 0]]])
def test_without_pairs_or_with_one_class_nothing_is_defined(dense) -> None:
    crowd = CrowdLabels.from_dense(np.array(dense), n_classes=2)
    assert np.isnan(fleiss_kappa(crowd))
    assert np.isnan([krippendorff_alpha(crowd, level) for level in LEVELS]).all()
    frame = pairwise_agreement(crowd).to_frame(crowd)
    assert len(frame) == (3 if crowd.labels_per_item.max() > 1 else 0)
    assert (frame["agreement"] == 1).all()
    assert frame["kappa"].isna().all()


def test_unanimous_crowds_agree_perfectly_and_random_ones_by_chance() -> None:
    unanimous = CrowdLabels.from_dense(np.tile(np.arange(30)[:, None] % 3, (1, 4)))
    assert fleiss_kappa(unanimous) == krippendorff_alpha(unanimous) == pytest.approx(1)
    guesses = CrowdLabels.from_dense(np.random.default_rng(0).integers(0, 3, (4000, 4)))
    assert fleiss_kappa(guesses) == pytest.approx(0, abs=0.02)
    assert krippendorff_alpha(guesses, "ordinal") == pytest.approx(0, abs=0.02)


def test_interval_values_are_class_names_where_those_are_numbers() -> None:
    frame = pd.DataFrame({"task": [0, 0, 1, 1, 2, 2], "worker": [0, 1] * 3, "label": [1, 1, 10, 2, 2, 2]})
    crowd = CrowdLabels.from_frame(frame)
    named = krippendorff_alpha(crowd, "interval")
    assert named == krippendorff_alpha(crowd, "interval", values=[1, 2, 10])
    assert named != krippendorff_alpha(crowd, "interval", values=[0, 1, 2])
    words = CrowdLabels.from_frame(frame.assign(label=frame["label"].map({1: "a", 2: "b", 10: "c"})))
    assert krippendorff_alpha(words, "interval") == krippendorff_alpha(crowd, "interval", values=[0, 1, 2])


def test_bad_arguments_are_refused() -> None:
    crowd = krippendorff_example()
    with pytest.raises(ValueError, match="level must be one of nominal, ordinal, interval, got 'ratio'"):
        krippendorff_alpha(crowd, "ratio")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match='values can be used only with level="interval"'):
        krippendorff_alpha(crowd, "nominal", values=[1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match=r"values must be finite, of shape \(5,\), got \(2,\)"):
        krippendorff_alpha(crowd, "interval", values=[1, 2])


def test_a_sparse_crowd_of_many_workers_stays_sparse() -> None:
    rng = np.random.default_rng(0)
    crowd = CrowdLabels(
        np.repeat(np.arange(5000), 3), rng.integers(0, 20_000, 15_000), rng.integers(0, 2, 15_000),
        n_items=5000, n_workers=20_000, n_classes=2, repeats="keep",
    )  # fmt: skip
    result = pairwise_agreement(crowd)
    different = result.worker != result.other
    # The diagonal counts each two answers of one worker in both orders.
    assert result.n_shared[different].sum() + result.n_shared[~different].sum() // 2 == 5000 * 3
    assert len(result.to_frame(crowd)) == different.sum() <= 15_000


def test_better_workers_agree_more() -> None:
    crowd, _ = simulated(n_items=2000)
    result = pairwise_agreement(crowd)
    share = result.matrix(result.share)
    assert (np.diff(share[0, 1:]) > -0.03).all()
    assert share[4, 5] > 0.6 > share[0, 1]


@pytest.mark.parametrize("name", ["rte", "bluebird"])
def test_on_full_designs_alpha_is_kappa_up_to_the_small_sample(data_root, name: str) -> None:
    crowd, _, _ = real_crowd(data_root, name)
    assert len(set(crowd.labels_per_item)) == 1
    fleiss = fleiss_kappa(crowd)
    # With k annotations per item: 1 - alpha = (1 - kappa) (1 - 1 / n_annotations).
    assert 1 - krippendorff_alpha(crowd) == pytest.approx((1 - fleiss) * (1 - 1 / crowd.n_annotations))


def test_a_nan_comes_with_its_reason() -> None:
    nothing_shared = CrowdLabels.from_dense(np.array([[0, -1], [-1, 1]]))
    one_class = CrowdLabels.from_dense(np.array([[1, 1], [1, 1], [0, -1]]))
    for crowd, reason in ((nothing_shared, "no item has two labels"), (one_class, "all labels of the 2 items")):
        with pytest.warns(UndefinedAgreementWarning, match=f"alpha is not defined: {reason}"):
            assert np.isnan(krippendorff_alpha(crowd))
        assert why_no_alpha(crowd).startswith(reason)
    assert why_no_kappa(one_class) == ""
    assert why_no_alpha(CrowdLabels.from_dense(np.array([[0, 1]])), "interval", values=[2, 2]).endswith("same value")


def test_agreement_of_many_classes_needs_no_dense_table() -> None:
    n = 1_000_000
    crowd = CrowdLabels(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([5, 5, 7, n - 1]), n, 2, n)
    assert krippendorff_alpha(crowd) == pytest.approx(0.4)
    assert -1 <= fleiss_kappa(crowd) <= 1
