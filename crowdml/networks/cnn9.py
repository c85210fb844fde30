"""The CNN of Co-teaching: nine convolutions, and one linear layer on the mean of each channel."""

from __future__ import annotations

from torch import nn

from crowdml.networks.layers import check_size, initialise

_SLOPE = 0.01
_DROPOUT = 0.25


def cnn9(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build nine 3x3 convolutions (three of 128 channels, three of 256, then 512, 256, 128) and one linear layer.

    Batch normalisation and leaky ReLU follow every convolution.  2x2 max pooling and dropout of whole channels follow
    the third and the sixth convolution.  The last three convolutions have no padding; the linear layer gets the mean of
    each of their channels.  Co-teaching (Han et al., NeurIPS 2018) uses this network for all its data sets.  Their
    program also drops channels in tests; this network does not.

    Raises:
        ValueError: the images are smaller than 28x28, so that the last convolutions would leave no pixel.
    """
    check_size("cnn9", in_shape, 28)
    channels = in_shape[0]
    return initialise(
        nn.Sequential(
            *_block(channels, (128, 128, 128)),
            nn.MaxPool2d(2),
            nn.Dropout2d(_DROPOUT),
            *_block(128, (256, 256, 256)),
            nn.MaxPool2d(2),
            nn.Dropout2d(_DROPOUT),
            *_block(256, (512, 256, 128), padding=0),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, n_classes),
        )
    )


def _block(in_channels: int, widths: tuple[int, ...], *, padding: int = 1) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [
            nn.Conv2d(in_channels, width, 3, padding=padding, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(_SLOPE, inplace=True),
        ]
        in_channels = width
    return layers
