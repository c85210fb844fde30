"""The 8-layer CNN for CIFAR-10: six convolutions and two fully connected layers."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from crowdml.networks.layers import check_size, conv_bn_relu, initialise

_WIDTHS = (64, 128, 196)
_HIDDEN = 256


def cnn8(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build three blocks of two 3x3 convolutions (64, 128, 196 channels) with 2x2 max pooling, then 256 hidden units.

    Batch normalisation and ReLU follow every layer except the last.  LABNET (Ghiassi, Birke, Chen, VISAPP 2022)
    describes an "8-layer CNN with 6 convolutional and 2 fully connected layers" without sizes.  The sizes here are our
    choice.  They come from networks with the same description in the code of dimensionality-driven learning (Ma et
    al., ICML 2018) and symmetric cross-entropy (Wang et al., ICCV 2019).  This network differs from their code: it has
    no bias before a normalisation, it uses torch's constants of batch normalisation (Keras uses momentum 0.01 and
    epsilon 1e-3), and the weight decay of the recipe applies to all layers, instead of an L2 penalty on the hidden one.

    Raises:
        ValueError: the images are smaller than 8x8.
    """
    check_size("cnn8", in_shape, 8)
    channels, height, width = in_shape
    blocks: list[nn.Module] = []
    for in_channels, out_channels in pairwise((channels, *_WIDTHS)):
        blocks += [*conv_bn_relu(in_channels, out_channels), *conv_bn_relu(out_channels, out_channels), nn.MaxPool2d(2)]
    return initialise(
        nn.Sequential(
            *blocks,
            nn.Flatten(),
            nn.Linear(_WIDTHS[-1] * (height // 8) * (width // 8), _HIDDEN, bias=False),
            nn.BatchNorm1d(_HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(_HIDDEN, n_classes),
        )
    )
