"""The 7-layer CNN of JoCoR: six convolutions and one linear layer."""

from __future__ import annotations

from torch import nn

from crowdml.networks.layers import check_size, conv_bn_relu, initialise

_WIDTHS = ((64, 64), (128, 128), (196, 16))


def cnn7(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build six 3x3 convolutions (64, 64, 128, 128, 196, 16 channels) and one linear layer.

    Batch normalisation and ReLU follow every convolution; 2x2 max pooling follows every second one.  JoCoR (Wei, Feng,
    Chen, An, CVPR 2020) uses this network for CIFAR.  Their convolutions also have a bias, which the normalisation
    cancels.

    Raises:
        ValueError: the images are smaller than 8x8.
    """
    check_size("cnn7", in_shape, 8)
    channels, height, width = in_shape
    layers: list[nn.Module] = []
    for first, second in _WIDTHS:
        layers += [*conv_bn_relu(channels, first), *conv_bn_relu(first, second), nn.MaxPool2d(2)]
        channels = second
    return initialise(
        nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * (height // 8) * (width // 8), n_classes))
    )
