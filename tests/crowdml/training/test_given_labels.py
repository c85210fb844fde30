from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from crowdml.labels import CrowdLabels
from crowdml.training.given_labels import given_crowd

TRUTH = np.arange(12) % 3
NAMES = np.array(["cat", "dog", "eel"])


def matrix() -> np.ndarray:
    """(12, 4) labels as floats, with NaN where a worker gave no label."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((12, 4)) < 0.7, TRUTH[:, None], rng.integers(0, 3, (12, 4))).astype(float)
    labels[rng.random((12, 4)) < 0.3] = np.nan
    return labels


def named(values: np.ndarray) -> np.ndarray:
    names = NAMES[np.nan_to_num(values).astype(int)].astype(object)
    names[np.isnan(values)] = None
    return names


def classes(crowd: CrowdLabels) -> list:
    return list(range(crowd.n_classes)) if crowd.class_names is None else list(crowd.class_names)


def told(crowd: CrowdLabels) -> list[tuple]:
    names = classes(crowd)
    return sorted(zip(crowd.item.tolist(), crowd.worker.tolist(), (names[label] for label in crowd.label), strict=True))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (TRUTH, [0, 1, 2]),
        (TRUTH.tolist(), [0, 1, 2]),
        (TRUTH.astype(float), [0.0, 1.0, 2.0]),
        (TRUTH.astype(np.uint8), [0, 1, 2]),
        (TRUTH - 1, [-1, 0, 1]),
        (TRUTH > 0, [False, True]),
        (NAMES[TRUTH], ["cat", "dog", "eel"]),
        (NAMES[TRUTH].astype(object), ["cat", "dog", "eel"]),
        (TRUTH.astype(object), [0, 1, 2]),
        (torch.tensor(TRUTH), [0, 1, 2]),
        (torch.tensor(TRUTH, dtype=torch.float32, requires_grad=True), [0.0, 1.0, 2.0]),
        (pd.Series(TRUTH, dtype="Int64"), [0, 1, 2]),
        (pd.Series(TRUTH, dtype="Float64"), [0.0, 1.0, 2.0]),
        (pd.Series(TRUTH > 0, dtype="boolean"), [False, True]),
        (pd.Series(NAMES[TRUTH], dtype="string"), ["cat", "dog", "eel"]),
        (pd.Series(TRUTH, index=np.random.default_rng(0).permutation(12)), [0, 1, 2]),
        (pd.Series(pd.Categorical(NAMES[TRUTH], categories=["eel", "dog", "cat", "fox"])), ["cat", "dog", "eel"]),
        (
            pd.Series(pd.Categorical(NAMES[TRUTH], categories=["eel", "dog", "cat", "fox"], ordered=True)),
            ["eel", "dog", "cat"],
        ),
    ],
)
def test_one_label_each(labels, names: list) -> None:
    crowd = given_crowd(labels, 12)
    assert classes(crowd) == names
    given = np.asarray(labels.detach() if torch.is_tensor(labels) else labels)
    assert [classes(crowd)[label] for label in crowd.label] == given.tolist()


@pytest.mark.parametrize("labels", [TRUTH, TRUTH.astype(float), NAMES[TRUTH], TRUTH > 0])
def test_a_column_of_labels_is_one_label_each(labels: np.ndarray) -> None:
    for column in (labels[:, None], pd.DataFrame({"label": labels})):
        with pytest.warns(UserWarning, match="each row is taken as one label"):
            assert told(given_crowd(column, 12)) == told(given_crowd(labels, 12))


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        lambda x: x.astype(np.float32),
        lambda x: np.where(np.isnan(x), -1, x).astype(int),
        lambda x: np.ma.masked_invalid(x),
        lambda x: np.where(np.isnan(x), None, x),
        lambda x: x.tolist(),
        pd.DataFrame,
        lambda x: pd.DataFrame(x).astype("Int64"),
        lambda x: pd.DataFrame(x, index=np.arange(12)[::-1], columns=list("abcd")),
        torch.tensor,
    ],
)
def test_several_workers_with_missing_labels(form) -> None:
    values = matrix()
    item, worker = np.nonzero(~np.isnan(values))
    expected = sorted(zip(item.tolist(), worker.tolist(), values[item, worker].astype(int).tolist(), strict=True))
    assert told(given_crowd(form(values), 12)) == expected


@pytest.mark.parametrize("form", [lambda x: x, pd.DataFrame, lambda x: pd.DataFrame(x).astype("string")])
def test_several_workers_who_give_texts(form) -> None:
    names = named(matrix())
    item, worker = np.nonzero(names != np.array(None))
    expected = sorted(zip(item.tolist(), worker.tolist(), names[item, worker].tolist(), strict=True))
    assert told(given_crowd(form(names), 12)) == expected


def test_columns_of_a_frame_are_the_workers() -> None:
    crowd = given_crowd(pd.DataFrame(matrix(), columns=["ann", "bob", "cem", "dee"]), 12)
    assert crowd.worker_ids is not None
    assert list(crowd.worker_ids) == ["ann", "bob", "cem", "dee"]


def test_a_frame_of_annotations_with_nullable_columns() -> None:
    frame = pd.DataFrame({"task": [3, 0, 3], "worker": ["a", "a", "b"], "label": [True, False, True]})
    nullable = frame.convert_dtypes()
    assert told(given_crowd(nullable, 12)) == told(given_crowd(frame, 12))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (None, "the target y is None"),
        (sp.csr_array(np.eye(12, dtype=int)), r"y is sparse; pass a dense array"),
        (np.random.default_rng(0).normal(size=12), "Unknown label type: continuous"),
        (np.where(TRUTH == 0, np.nan, TRUTH), "label 0 is empty"),
        (np.where(TRUTH == 1, np.inf, TRUTH), "label 1 is infinite"),
        (pd.Series([*TRUTH[:11], None], dtype="Int64"), "label 11 is empty"),
        ([*TRUTH[:11], "x"], "labels must be all numbers, all texts or all bools; y holds int64, str"),
        ([b"a", b"b"] * 6, "y holds bytes"),
        (pd.Series(pd.date_range("2024", periods=12)), "y holds"),
        (TRUTH[:5], "there are 5 labels and X has 12 rows"),
        (3, "there are 0 labels"),
        (np.where(TRUTH > 0, 1, -1)[:, None], "has one column and holds -1"),
        (np.where(matrix() > 0, 1, -1), "only 1 and -1, which stands for no label"),
        (np.eye(3, dtype=int)[TRUTH], "y is one-hot"),
        (np.eye(3)[TRUTH] > 0, "y is one-hot"),
        (matrix() + 0.5, r"the label in row 0, column \d of y is \d.5; labels of several workers"),
        (matrix() + 1e9, "labels of several workers must be texts, or class numbers"),
        (np.full((12, 2), np.nan), "y holds no label at all"),
        (np.full((12, 2), -3), "labels must be at least 0, or -1 for no label"),
        (np.zeros((12, 2, 2)), r"labels must be \(n_items,\) or"),
        (pd.DataFrame({"worker": [1], "label": [1]}), "column 'task' is missing"),
    ],
)
def test_labels_that_may_be_meant_in_two_ways_or_in_none_are_refused(labels, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        given_crowd(labels, 12)


def test_an_index_in_another_order_is_refused() -> None:
    labels = pd.Series(TRUTH, index=np.arange(12)[::-1])
    with pytest.raises(ValueError, match="y has the index of X in another order"):
        given_crowd(labels, 12, pd.RangeIndex(12))
    assert told(given_crowd(labels, 12, pd.RangeIndex(100, 112))) == told(given_crowd(TRUTH, 12))
    assert told(given_crowd(labels, 12, labels.index)) == told(given_crowd(TRUTH, 12))
