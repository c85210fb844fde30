from __future__ import annotations

import numpy as np
import pytest
import torch

from crowdml.learning.inputs import in_memory
from crowdml.learning.whiten import whiten

CPU = torch.device("cpu")


def images(n: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 2, 4, 5)).astype(np.uint8)


def everything(inputs) -> torch.Tensor:
    ((values,),) = inputs.batches([torch.arange(len(inputs))])
    return values


def test_standard_images_have_mean_zero_and_deviation_one_a_channel() -> None:
    train, test = in_memory(images(), images(seed=1), "standard", CPU)
    values = everything(train)
    assert values.mean(dim=(0, 2, 3)).numpy() == pytest.approx([0, 0], abs=1e-5)
    assert values.std(dim=(0, 2, 3), correction=0).numpy() == pytest.approx([1, 1], abs=1e-5)
    # The test images are normalised by the training images' statistics.
    raw = images().astype(np.float64)
    mean, std = raw.mean(axis=(0, 2, 3)), raw.std(axis=(0, 2, 3))
    expected = (images(seed=1) - mean[:, None, None]) / std[:, None, None]
    assert everything(test).numpy() == pytest.approx(expected, abs=1e-5)


def test_unit_images_are_between_zero_and_one() -> None:
    train, _ = in_memory(images(), None, "unit", CPU)
    assert everything(train).numpy() == pytest.approx(images() / 255, abs=1e-6)


def test_features_are_normalised_one_by_one_and_a_constant_one_is_zero() -> None:
    values = np.random.default_rng(0).normal(5, 3, (40, 3))
    values[:, 1] = 7.0
    train, _ = in_memory(values, None, "standard", CPU)
    seen = everything(train)
    assert seen.dtype == torch.float32
    assert seen.mean(dim=0).numpy() == pytest.approx([0, 0, 0], abs=1e-2)
    assert seen.std(dim=0, correction=0).numpy() == pytest.approx([1, 0, 1], abs=1e-4)
    same, _ = in_memory(values, None, "unit", CPU)
    assert everything(same).numpy() == pytest.approx(values, rel=1e-6)


def test_bad_features_are_named() -> None:
    values = np.ones((4, 3), np.float32)
    values[2, 1] = np.nan
    with pytest.raises(ValueError, match="feature 1 of item 2 is nan; features must be finite"):
        in_memory(values, None, "standard", CPU)
    with pytest.raises(ValueError, match='"whitened" is for images'):
        in_memory(np.ones((4, 3), np.float32), None, "whitened", CPU)


def test_whitened_images_are_decorrelated() -> None:
    # Neighbouring pixels alike, as in photos: far from white before.
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.normal(0, 60, (2000, 1, 4, 4)), axis=3) + 128
    train = torch.from_numpy(np.clip(smooth, 0, 255).astype(np.uint8))
    white, same = whiten(train, train)
    flat = white.flatten(1)
    moments = (flat.T @ flat / len(flat)).numpy()
    # Each image's mean is taken out, so one direction is lost; all others have the same second moment.
    eigenvalues = np.sort(np.linalg.eigvalsh(moments))
    assert eigenvalues[0] == pytest.approx(0, abs=1e-4)
    assert eigenvalues[1:] == pytest.approx(np.full(15, 16 / 15), rel=0.02)
    assert same is not None
    assert torch.allclose(white, same, atol=1e-4)


def test_views_are_augmented_each_anew() -> None:
    train, _ = in_memory(images(), None, "standard", CPU)
    items = torch.arange(50)
    ((first, second),) = train.batches([items], kind="crop_flip", generator=torch.Generator().manual_seed(0), views=2)
    assert not torch.equal(first, second)
    ((plain, again),) = train.batches([items], views=2)
    assert torch.equal(plain, again)
