from __future__ import annotations

import pytest
import torch

from crowdml.networks import build_network


def test_parameters_by_hand() -> None:
    # 5x5 convolutions 3-64-128, 128 * 8 * 8 -> 512 -> 100, all with bias.
    weights = 75 * 64 + 1600 * 128 + 128 * 64 * 512 + 512 * 100
    network = build_network("lc_cnn", (3, 32, 32), 100)
    assert sum(parameter.numel() for parameter in network.parameters()) == weights + 64 + 128 + 512 + 100


@pytest.mark.parametrize("in_shape", [(1, 4, 4), (1, 28, 27), (3, 32, 32)])
def test_channels_and_sizes(in_shape: tuple[int, int, int]) -> None:
    assert build_network("lc_cnn", in_shape, 7)(torch.zeros(2, *in_shape)).shape == (2, 7)


def test_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="lc_cnn needs images of at least 4x4 pixels, got 3x9"):
        build_network("lc_cnn", (3, 3, 9), 10)
