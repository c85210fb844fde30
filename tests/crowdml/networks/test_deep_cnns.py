from __future__ import annotations

import pytest
import torch
from torch import nn

from crowdml.networks import build_network


def test_cnn7_is_the_network_of_jocor() -> None:
    network = build_network("cnn7", (3, 32, 32), 10)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 64, 128, 128, 196, 16]
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(256, 10)]
    # 3x3 weights, two parameters per normalised channel, and 256 * 10 + 10 in the last layer.
    weights = 9 * (3 * 64 + 64**2 + 64 * 128 + 128**2 + 128 * 196 + 196 * 16) + 2 * (2 * 64 + 2 * 128 + 196 + 16) + 2570
    assert sum(parameter.numel() for parameter in network.parameters()) == weights


@pytest.mark.parametrize("in_shape", [(1, 8, 8), (1, 28, 28), (3, 32, 28)])
def test_cnn7_takes_other_channels_and_sizes(in_shape: tuple[int, int, int]) -> None:
    assert build_network("cnn7", in_shape, 7)(torch.zeros(2, *in_shape)).shape == (2, 7)


def test_cnn7_refuses_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="cnn7 needs images of at least 8x8 pixels, got 7x8"):
        build_network("cnn7", (1, 7, 8), 10)


def test_cnn9_is_the_network_of_co_teaching() -> None:
    network = build_network("cnn9", (3, 32, 32), 10)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    widths = [128, 128, 128, 256, 256, 256, 512, 256, 128]
    assert [layer.out_channels for layer in convolutions] == widths
    before = [3, *widths[:-1]]
    weights = sum(9 * a * b + 2 * b for a, b in zip(before, widths, strict=True)) + 128 * 10 + 10
    assert sum(parameter.numel() for parameter in network.parameters()) == weights
    assert sum(isinstance(layer, nn.Dropout2d) for layer in network.modules()) == 2


def test_cnn9_side_of_the_feature_maps() -> None:
    # 32 -> 16 -> 8 by pooling, then 6, 4 and 2 without padding.  28 pixels end as one pixel.
    network = build_network("cnn9", (1, 32, 32), 10)
    sides: list[int] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))
    network(torch.zeros(2, 1, 32, 32))
    assert sides == [32] * 3 + [16] * 3 + [6, 4, 2]
    assert build_network("cnn9", (3, 28, 28), 7)(torch.zeros(2, 3, 28, 28)).shape == (2, 7)


def test_cnn9_refuses_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="cnn9 needs images of at least 28x28 pixels, got 28x27"):
        build_network("cnn9", (1, 28, 27), 10)
