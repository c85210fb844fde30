from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.labels import CrowdLabels
from crowdml.training.items import Items
from crowdml.training.matching import fingerprint, match_crowd, match_labels


def items(ids: list) -> Items:
    return Items("here", np.array(ids), np.arange(float(len(ids)))[:, None])


def crowd(rows: list[tuple[str, str, str]], **options) -> CrowdLabels:
    return CrowdLabels.from_frame(pd.DataFrame(rows, columns=["task", "worker", "label"]), **options)


def test_annotations_follow_their_items() -> None:
    given = crowd([("b", "w", "no"), ("a", "w", "yes"), ("z", "v", "no"), ("d", "v", "yes")])
    matched = match_crowd(given, items(["d", "c", "b", "a"]))
    assert matched.places.tolist() == [0, 2, 3]
    assert matched.crowd.to_frame().to_numpy().tolist() == [["b", "w", "no"], ["a", "w", "yes"], ["d", "v", "yes"]]
    assert matched.crowd.item.tolist() == [1, 2, 0]
    assert matched.without_item.tolist() == ["z"]
    assert matched.without_label.tolist() == ["c"]
    assert matched.notes() == [
        "tasks with labels but no item, left out: 1 (z)",
        "items without a label, not trained on: 1 (c)",
    ]


def test_gold_labels_go_with_their_items() -> None:
    # Item 2 has a known class and no annotation, which is enough to learn from; item 1 has neither.
    given = replace(
        CrowdLabels.from_dense(np.array([[0, 1], [-1, -1], [-1, -1], [1, 1]])), gold=np.array([-1, -1, 0, 1])
    )
    matched = match_crowd(given, items([0, 1, 2, 3]))
    assert matched.places.tolist() == [0, 2, 3]
    assert matched.crowd.gold is not None
    assert matched.crowd.gold.tolist() == [-1, 0, 1]
    assert matched.without_label.tolist() == [1]


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_items_changes_only_the_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.integers(-1, 3, (8, 4))
    dense[:2, 0] = [0, 1]
    ids = rng.permutation(8)
    matched = match_crowd(CrowdLabels.from_dense(dense, n_classes=3), items(ids.tolist()))
    assert (matched.crowd.to_dense() == dense[ids[matched.places]]).all()
    assert matched.crowd.item_ids is not None
    assert (matched.crowd.item_ids == ids[matched.places]).all()
    assert set(matched.without_label) == set(np.flatnonzero((dense < 0).all(axis=1)))


def test_true_classes_of_test_items() -> None:
    labels = pd.Series(["no", "yes", "may be", "no"], index=["c", "a", "b", "x"])
    truth, notes = match_labels(labels, items(["a", "b", "c", "d"]), np.array(["no", "yes"]))
    assert truth.tolist() == [1, 2, 0, -1]
    assert notes == [
        "test labels without an item, left out: 1 (x)",
        "test items without a label, left out: 1 (d)",
        "test classes that nobody gave in training: 1 (may be); their 1 items count as wrong",
    ]
    with pytest.raises(ValueError, match="none of the 1 test items of here has a test label among the classes no, yes"):
        match_labels(labels, items(["b"]), np.array(["no", "yes"]))


def test_a_fingerprint_is_of_everything_known() -> None:
    rows = [("a", "w", "no"), ("b", "w", "yes")]
    first = crowd(rows)
    others = [
        crowd([("a", "w", "no"), ("b", "v", "yes")]),
        crowd([("a", "w", "yes"), ("b", "w", "no")]),
        crowd([("a", "w", "no"), ("c", "w", "yes")]),
        crowd(rows, class_names=["yes", "no"]),
        replace(first, gold=np.array([0, -1])),
        replace(first, history=np.ones((1, 2, 2))),
    ]
    assert fingerprint(first) == fingerprint(crowd(rows))
    assert len({fingerprint(one) for one in [first, *others]}) == 7
