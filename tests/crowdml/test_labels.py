from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from crowdml.labels import CrowdLabels
from tests.crowds import crowds


def make(**changes: object) -> CrowdLabels:
    values = {"item": [0, 0, 1], "worker": [0, 1, 0], "label": [1, 0, 1], "n_items": 2, "n_workers": 2, "n_classes": 2}
    return CrowdLabels(**{**values, **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": [1, -1, 1]}, "label must not be negative, got -1 at position 1"),
        ({"label": [1, 2, 1]}, "label must be below n_classes = 2, got 2 at position 1"),
        ({"item": [0, 5, 1]}, "item must be below n_items = 2, got 5 at position 1"),
        ({"worker": [0, 1, 7]}, "worker must be below n_workers = 2, got 7 at position 2"),
        ({"worker": [0, 0, 0]}, r"worker 0 labelled item 0 more than once \(1 repeated"),
        ({"item": [], "worker": [], "label": []}, "at least one annotation, got none"),
        ({"item": [0, 1]}, "must have one length"),
        ({"label": [1.0, 0.0, 1.0]}, "label must hold integers, got float64"),
        ({"item_ids": np.array(["a"])}, "item_ids must have length 2, got 1"),
        ({"repeats": "maybe"}, "repeats must be"),
    ],
)
def test_bad_annotations_are_refused_in_the_users_terms(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_repeats_are_kept_or_dropped_as_asked() -> None:
    repeated = {"item": [0, 0, 1], "worker": [0, 0, 0], "label": [1, 0, 1]}
    assert make(**repeated, repeats="first").label.tolist() == [1, 1]
    kept = make(**repeated, repeats="keep")
    assert kept.n_annotations == 3
    assert kept.votes.tolist() == [[1, 1], [0, 1]]
    assert kept.to_dense()[0, 0] == 1  # the first answer


def test_views_of_a_crowd_by_hand() -> None:
    crowd = make()
    # Columns are worker * n_classes + label.
    assert crowd.indicator.toarray().tolist() == [[0, 1, 1, 0], [0, 1, 0, 0]]
    assert crowd.votes.tolist() == [[1, 1], [0, 1]]
    assert crowd.labels_per_item.tolist() == [2, 1]
    assert crowd.labels_per_worker.tolist() == [2, 1]
    assert crowd.to_dense().tolist() == [[1, 0], [1, -1]]
    with pytest.raises(ValueError, match="read-only"):
        crowd.label[0] = 0


def test_frame_keeps_ids_names_and_column_names() -> None:
    frame = pd.DataFrame({"q": ["b", "a", "a"], "who": [7, 7, 9], "says": ["no", "yes", "no"]})
    crowd = CrowdLabels.from_frame(frame, task="q", worker="who", label="says", class_names=["yes", "no"])
    assert crowd.n_items == 2
    assert crowd.label.tolist() == [1, 0, 1]
    assert crowd.to_frame().to_dict("list") == {
        "task": ["b", "a", "a"],
        "worker": [7, 7, 9],
        "label": ["no", "yes", "no"],
    }


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"task": [1], "worker": [1]}), "column 'label' is missing"),
        (pd.DataFrame({"task": [1, 2], "worker": [1, 1], "label": ["x", None]}), "column 'label' has 1 empty"),
        (pd.DataFrame({"task": [], "worker": [], "label": []}), "empty frame"),
        (pd.DataFrame({"task": [1], "worker": [1], "label": ["z"]}), "not among class_names"),
    ],
)
def test_bad_frames_are_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CrowdLabels.from_frame(frame, class_names=["x", "y"])


def test_a_dense_array_must_be_integer_and_not_below_minus_one() -> None:
    with pytest.raises(ValueError, match="-1 for no label, got -2"):
        CrowdLabels.from_dense(np.array([[-2, 0]]))
    with pytest.raises(ValueError, match="integer"):
        CrowdLabels.from_dense(np.array([[0.5]]))


@given(crowds())
def test_dense_and_frame_round_trips(crowd: CrowdLabels) -> None:
    again = CrowdLabels.from_dense(crowd.to_dense(), n_classes=crowd.n_classes)
    assert (again.to_dense() == crowd.to_dense()).all()
    back = CrowdLabels.from_frame(crowd.to_frame(), class_names=range(crowd.n_classes))
    pairs = {tuple(row) for row in crowd.to_frame().to_numpy()}
    assert {tuple(row) for row in back.to_frame().to_numpy()} == pairs


@given(crowds())
def test_votes_are_the_indicator_summed_over_workers(crowd: CrowdLabels) -> None:
    summed = crowd.indicator.toarray().reshape(crowd.n_items, crowd.n_workers, crowd.n_classes).sum(axis=1)
    assert (summed == crowd.votes).all()
