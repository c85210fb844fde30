from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.labels import CrowdLabels
from crowdml.training.items import Items
from crowdml.training.matching import find_items, fingerprint, match_crowd, match_labels


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


def images(*names: str) -> Items:
    """Images of a folder, with the ids that a layout gives them."""
    stems = [name.rpartition(".")[0] for name in names]
    ids = [name if stems.count(stem) > 1 else stem for name, stem in zip(names, stems, strict=True)]
    return Items("here", np.array(ids), paths=tuple(Path("photos", name) for name in names))


@pytest.mark.parametrize(
    ("files", "tasks", "found", "notes"),
    [
        (["a.png", "b.jpg"], ["b.jpg", "a", "b"], [1, 0, 1], []),
        # Two images that differ in their ending are two tasks; without the ending a task means neither.
        (["a.jpg", "a.png"], ["a.png", "a.jpg", "a"], [1, 0, -1], ["could mean several images, .*: 1 \\(a\\)"]),
        # An image with another ending, if it is the only one and the task the only one.
        (["a.png"], ["a.jpg"], [0], ["whose image has another ending: 1 \\(a.jpg is a.png\\)"]),
        (["a.JPG"], ["a.jpg"], [0], ["another ending: 1 \\(a.jpg is a.JPG\\)"]),
        (["a.png"], ["a.jpg", "a.png"], [-1, 0], ["an image of another task: 1 \\(a.jpg\\)"]),
        (["a.png"], ["a.jpg", "a.gif"], [-1, -1], ["an image of another task: 2 \\(a.jpg, a.gif\\)"]),
        (["a.v2.png", "d/a.png"], ["a.v2", "d/a.png", "a"], [0, 1, -1], []),
        (["1.png", "2.png"], [2, 1, 3], [1, 0, -1], []),
    ],
)
def test_an_image_is_found_by_its_whole_name_first(files, tasks, found: list[int], notes: list[str]) -> None:
    at, said = find_items(images(*files), np.array(tasks))
    assert at.tolist() == found
    assert len(said) == len(notes)
    for line, wanted in zip(said, notes, strict=True):
        assert re.search(wanted, line)


def test_labels_of_two_endings_stay_apart() -> None:
    given = crowd([("a.jpg", "w", "no"), ("a.png", "w", "yes"), ("b.gif", "w", "no"), ("c.png", "w", "yes")])
    matched = match_crowd(given, images("a.jpg", "a.png", "b.png"))
    assert matched.crowd.to_frame()[["task", "label"]].to_numpy().tolist() == [
        ["a.jpg", "no"], ["a.png", "yes"], ["b", "no"],
    ]  # fmt: skip
    assert matched.notes() == [
        "tasks whose image has another ending: 1 (b.gif is b.png)",
        "tasks with labels but no item, left out: 1 (c.png)",
    ]


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
