from __future__ import annotations

import pytest
import torch
from torch import nn

from crowdml.networks import build_network
from crowdml.networks.split import split_last_linear


def test_cnn6_dropout_parameter_count_and_layers() -> None:
    network = build_network("cnn6_dropout", (3, 32, 32), 100)
    # 32x32 becomes 30, 28, pooled 14, padded 14, 12, pooled 6: 64 * 6 * 6 -> 512 -> 100.
    convolutions = 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 2 * 32 + 2 * 64
    linear = 2_304 * 512 + 512 + 512 * 100 + 100
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + linear
    dropout = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]
    assert dropout == [0.25, 0.25, 0.5]


@pytest.mark.parametrize("in_shape", [(1, 12, 12), (3, 28, 13), (3, 64, 64)])
def test_cnn6_dropout_takes_other_sizes(in_shape: tuple[int, int, int]) -> None:
    assert build_network("cnn6_dropout", in_shape, 7)(torch.rand(2, *in_shape)).shape == (2, 7)


def test_cnn6_dropout_refuses_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="cnn6_dropout needs images of at least 12x12 pixels, got 11x12"):
        build_network("cnn6_dropout", (3, 11, 12), 10)


def test_lc_cnn_parameters_by_hand() -> None:
    # 5x5 convolutions 3-64-128, 128 * 8 * 8 -> 512 -> 100, all with bias.
    weights = 75 * 64 + 1600 * 128 + 128 * 64 * 512 + 512 * 100
    network = build_network("lc_cnn", (3, 32, 32), 100)
    assert sum(parameter.numel() for parameter in network.parameters()) == weights + 64 + 128 + 512 + 100


@pytest.mark.parametrize("in_shape", [(1, 4, 4), (1, 28, 27), (3, 32, 32)])
def test_lc_cnn_takes_channels_and_sizes(in_shape: tuple[int, int, int]) -> None:
    assert build_network("lc_cnn", in_shape, 7)(torch.zeros(2, *in_shape)).shape == (2, 7)


def test_lc_cnn_refuses_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="lc_cnn needs images of at least 4x4 pixels, got 3x9"):
        build_network("lc_cnn", (3, 3, 9), 10)


def test_cifar_quick_parameters_are_those_of_the_example() -> None:
    # 5x5 convolutions 3-32-32-64, a 4x4 convolution over the pooled 32x32 map, and 1x1 to 10 classes, all with bias.
    weights = 75 * 32 + 800 * 32 + 800 * 64 + 16 * 64 * 64 + 64 * 10
    network = build_network("cifar_quick", (3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == weights + 32 + 32 + 64 + 64 + 10


@pytest.mark.parametrize("side", [8, 9, 15, 28, 32, 33])
def test_cifar_quick_each_pooling_halves_and_rounds_down(side: int) -> None:
    network = build_network("cifar_quick", (1, side, side + 1), 3)
    assert isinstance(network, nn.Sequential)
    sizes = [side]
    images = torch.zeros(2, 1, side, side + 1)
    for layer in network:
        images = layer(images)
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            sizes.append(images.shape[2])
    assert sizes == [side, side // 2, side // 4, side // 8]
    assert images.shape == (2, 3)


def test_cifar_quick_average_over_the_edge_counts_only_what_is_there() -> None:
    network = build_network("cifar_quick", (1, 8, 8), 3)
    pooling = next(layer for layer in network.modules() if isinstance(layer, nn.AvgPool2d))
    assert torch.equal(pooling(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 2, 2))


def test_cifar_quick_ends_in_a_linear_layer_of_64_units() -> None:
    network = build_network("cifar_quick", (3, 32, 32), 10)
    images = torch.randn(2, 3, 32, 32)
    expected = network(images)
    features, linear = split_last_linear(network)
    assert features(images).shape == (2, 64)
    torch.testing.assert_close(linear(features(images)), expected)


def test_cifar_quick_refuses_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="cifar_quick needs images of at least 8x8 pixels, got 7x32"):
        build_network("cifar_quick", (3, 7, 32), 10)
