"""ImageData, its subsets, its fingerprint and the statistics of its channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml import datasets
from crowdml.datasets import ImageData, channel_statistics, fingerprint, stratified_order


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return datasets.load_images("digits")


def labelled_images(data: ImageData) -> dict[bytes, int]:
    assert data.train_images is not None
    return {image.tobytes(): int(label) for image, label in zip(data.train_images, data.train_labels, strict=True)}


def tiny_data(**changes: object) -> ImageData:
    images = np.arange(4 * 3 * 2 * 2, dtype=np.uint8).reshape(4, 3, 2, 2)
    data = ImageData("tiny", images, np.array([0, 1, 0, 1]), images[:1], np.array([1]), ("a", "b"))
    return replace(data, **changes)  # pyright: ignore[reportArgumentType]  # any field


# -------------------------------------------------------------------- ImageData


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((4, 3, 2, 2))}, "train_images must be uint8 .* got float64"),
        ({"test_images": np.zeros((1, 2, 2), np.uint8)}, r"test_images must be uint8 .* got uint8 \(1, 2, 2\)"),
        ({"train_labels": np.array([0, 1])}, "train_images holds 4 images, train_labels 2 labels"),
        ({"test_labels": np.array([2])}, r"test_labels must be in \[0, 2\), got 2 to 2"),
        ({"train_labels": np.array([0, 1, -1, 1])}, r"train_labels must be in \[0, 2\), got -1 to 1"),
    ],
)
def test_image_data_checks_itself(changes: dict[str, np.ndarray], message: str):
    with pytest.raises(ValueError, match=message):
        tiny_data(**changes)


def test_subsets_nest_and_keep_the_classes_shares(digits: ImageData):
    label_of = labelled_images(digits)
    small, large = digits.take_train(100, seed=3), digits.take_train(400, seed=3)
    assert len(labelled_images(small)) == 100
    assert labelled_images(small).items() < labelled_images(large).items() < label_of.items()
    assert np.bincount(large.train_labels) == pytest.approx(np.bincount(digits.train_labels) * 400 / 1297, abs=1)
    assert small.test_images is digits.test_images


def test_subset_of_all_and_out_of_range(digits: ImageData):
    assert digits.take_train(None, seed=0) is digits
    assert digits.take_train(1297, seed=0) is digits
    for n_train in (0, 1298):
        with pytest.raises(ValueError, match=rf"n_train must be in \[1, 1297\] for digits, got {n_train}"):
            digits.take_train(n_train, seed=0)


def test_subsets_follow_the_seed(digits: ImageData):
    assert fingerprint(digits.take_train(50, seed=1)) == fingerprint(digits.take_train(50, seed=1))
    assert fingerprint(digits.take_train(50, seed=1)) != fingerprint(digits.take_train(50, seed=2))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 99))
def test_stratified_order_is_a_permutation_with_fair_beginnings(labels: list[int], seed: int):
    array = np.array(labels)
    order = stratified_order(array, seed)
    assert sorted(order.tolist()) == list(range(len(array)))
    share = np.bincount(array) / len(array)
    seen = np.cumsum(np.eye(len(share))[array[order]], axis=0)
    expected = np.arange(1, len(array) + 1)[:, None] * share
    # A class is within half an item of its share of the quantile; the quantile is within half an item per class.
    assert (np.abs(seen - expected) <= 1 + 0.5 * len(share) * share + 1e-9).all()


# -------------------------------------------------------------------- fingerprint and statistics


def test_fingerprint_is_of_the_content():
    data = tiny_data()
    assert data.train_images is not None
    reference = fingerprint(data)
    assert len(reference) == 16
    assert int(reference, 16) >= 0
    strided = np.asfortranarray(data.train_images)
    assert fingerprint(replace(data, name="other", train_images=strided)) == reference
    one_pixel = data.train_images.copy()
    one_pixel[3, 2, 1, 1] ^= 1
    others = [
        replace(data, train_images=one_pixel),
        replace(data, train_images=data.train_images.reshape(4, 2, 3, 2)),
        replace(data, train_images=None),
        replace(data, train_labels=np.array([1, 0, 0, 1])),
        replace(data, test_labels=np.array([0])),
        replace(data, class_names=("a", "c")),
    ]
    assert len({reference, *map(fingerprint, others)}) == 7


def test_channel_statistics_by_hand():
    images = np.array([[[[0, 255]], [[51, 51]]], [[[0, 255]], [[51, 51]]]], np.uint8)  # (2, 2, 1, 2)
    mean, std = channel_statistics(images)
    assert mean.tolist() == [0.5, 0.2]
    assert std.tolist() == [0.5, 0.0]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 999))
def test_channel_statistics_are_numpys(n_items: int, channels: int, side: int, seed: int):
    images = np.random.default_rng(seed).integers(0, 256, (n_items, channels, side, side), dtype=np.uint8)
    mean, std = channel_statistics(images)
    scaled = images / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(std, scaled.std(axis=(0, 2, 3)), atol=1e-7)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 3, 4, 4)), np.zeros((2, 4, 4), np.uint8), np.zeros((0, 3, 4, 4), np.uint8)]
)
def test_channel_statistics_refuse_other_arrays(images: np.ndarray):
    with pytest.raises(ValueError, match="images must be uint8"):
        channel_statistics(images)
