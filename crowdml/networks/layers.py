"""Parts that the networks share: a convolution with batch normalisation, initialisation, a check of image sizes."""

from __future__ import annotations

from torch import nn


def conv_bn_relu(in_channels: int, out_channels: int, *, stride: int = 1) -> list[nn.Module]:
    """Return 3x3 convolution (without bias, because the normalisation cancels it), batch normalisation and ReLU."""
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


def initialise(network: nn.Module) -> nn.Module:
    """Initialise a network in place and return it.

    The weights of convolutions and linear layers come from a normal distribution with variance 2 / fan_in (He et al.,
    ICCV 2015, equation 10).  Their biases are zero.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def check_size(name: str, in_shape: tuple[int, int, int], smallest: int) -> None:
    """Raise ValueError unless the images are at least `smallest` pixels high and wide."""
    _, height, width = in_shape
    if min(height, width) < smallest:
        raise ValueError(f"{name} needs images of at least {smallest}x{smallest} pixels, got {height}x{width}")
