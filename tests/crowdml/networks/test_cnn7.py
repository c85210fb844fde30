from __future__ import annotations

import pytest
import torch
from torch import nn

from crowdml.networks import build_network

CIFAR = (3, 32, 32)


def test_it_is_the_network_of_jocor() -> None:
    network = build_network("cnn7", CIFAR, 10)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 64, 128, 128, 196, 16]
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(256, 10)]
    # 3x3 weights, two parameters per normalised channel, and 256 * 10 + 10 in the last layer.
    weights = 9 * (3 * 64 + 64**2 + 64 * 128 + 128**2 + 128 * 196 + 196 * 16) + 2 * (2 * 64 + 2 * 128 + 196 + 16) + 2570
    assert sum(parameter.numel() for parameter in network.parameters()) == weights


@pytest.mark.parametrize("in_shape", [(1, 8, 8), (1, 28, 28), (3, 32, 28)])
def test_other_channels_and_sizes(in_shape: tuple[int, int, int]) -> None:
    assert build_network("cnn7", in_shape, 7)(torch.zeros(2, *in_shape)).shape == (2, 7)


def test_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="cnn7 needs images of at least 8x8 pixels, got 7x8"):
        build_network("cnn7", (1, 7, 8), 10)
