from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.labels import CrowdLabels
from crowdml.noise import remove_labels


def ragged(n_items: int = 40, n_workers: int = 9, seed: int = 0) -> CrowdLabels:
    """Items with different numbers of labels, rows in no order, ids kept."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((n_items, n_workers)) < 0.6, rng.integers(0, 3, (n_items, n_workers)), -1)
    crowd = CrowdLabels.from_dense(dense, n_classes=3)
    order = rng.permutation(crowd.n_annotations)
    return CrowdLabels(
        crowd.item[order], crowd.worker[order], crowd.label[order], n_items, n_workers, 3,
        item_ids=np.array([f"i{item}" for item in range(n_items)]),
    )  # fmt: skip


@pytest.mark.parametrize(("rule", "shift"), [("floor", 0.0), ("round", 0.5)])
def test_each_item_loses_its_share(rule, shift: float) -> None:
    crowd = ragged()
    left = remove_labels(crowd, 0.3, rule, seed=1)
    lost = np.floor(0.3 * crowd.labels_per_item + shift + 1e-9)
    assert (crowd.labels_per_item - left.labels_per_item == lost).all()
    assert left.item_ids is crowd.item_ids
    kept = left.to_dense()
    assert (kept[kept >= 0] == crowd.to_dense()[kept >= 0]).all()


@given(st.floats(0, 0.6), st.floats(0, 0.3), st.sampled_from(["floor", "bernoulli"]), st.integers(0, 99))
def test_a_higher_rate_removes_what_a_lower_one_does(rate: float, more: float, rule, seed: int) -> None:
    crowd = ragged()
    low, high = (remove_labels(crowd, r, rule, seed).to_dense() for r in (rate, rate + more))
    assert (high[low < 0] < 0).all()


def test_bernoulli_removes_each_label_with_the_rate() -> None:
    crowd = ragged(4000)
    left = remove_labels(crowd, 0.25, "bernoulli", seed=2)
    assert left.n_annotations / crowd.n_annotations == pytest.approx(0.75, abs=0.02)


def test_which_labels_go_does_not_depend_on_the_order_of_the_rows() -> None:
    crowd = ragged()
    again = CrowdLabels.from_dense(crowd.to_dense(), n_classes=3)
    assert (remove_labels(crowd, 0.5).to_dense() == remove_labels(again, 0.5).to_dense()).all()
    assert remove_labels(crowd, 0.0) is crowd


def test_errors_name_what_is_wrong() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, -1]]))
    with pytest.raises(ValueError, match=r"missing_rate must be in \[0, 1\), got 1"):
        remove_labels(crowd, 1.0)
    with pytest.raises(ValueError, match="missing must be one of floor, round, bernoulli, got 'ceil'"):
        remove_labels(crowd, 0.5, "ceil")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="removes all 1 labels of an item"):
        remove_labels(crowd, 0.5, "round")
    assert remove_labels(crowd, 0.5, "floor").labels_per_item.tolist() == [1, 1]
