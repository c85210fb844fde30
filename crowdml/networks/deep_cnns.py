"""CNNs with 7 to 10 layers and batch normalisation, which papers on noisy labels use for CIFAR."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from crowdml.networks.layers import check_size, conv_bn_relu, initialise


def cnn7(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build six 3x3 convolutions (64, 64, 128, 128, 196, 16 channels) and one linear layer.

    Batch normalisation and ReLU follow every convolution; 2x2 max pooling follows every second convolution.  JoCoR
    (Wei, Feng, Chen, An, CVPR 2020) uses this network for CIFAR.  The convolutions of JoCoR also have a bias, which the
    normalisation cancels.

    Raises:
        ValueError: the images are smaller than 8x8.
    """
    check_size("cnn7", in_shape, 8)
    channels, height, width = in_shape
    layers: list[nn.Module] = []
    for first, second in ((64, 64), (128, 128), (196, 16)):
        layers += [*conv_bn_relu(channels, first), *conv_bn_relu(first, second), nn.MaxPool2d(2)]
        channels = second
    return initialise(
        nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * (height // 8) * (width // 8), n_classes))
    )


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
    for in_channels, out_channels in pairwise((channels, 64, 128, 196)):
        blocks += [*conv_bn_relu(in_channels, out_channels), *conv_bn_relu(out_channels, out_channels), nn.MaxPool2d(2)]
    return initialise(
        nn.Sequential(
            *blocks,
            nn.Flatten(),
            nn.Linear(196 * (height // 8) * (width // 8), 256, bias=False),
            nn.BatchNorm1d(256),
            nn.ReLU(inplace=True),
            nn.Linear(256, n_classes),
        )
    )


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
            nn.Dropout2d(0.25),
            *_block(128, (256, 256, 256)),
            nn.MaxPool2d(2),
            nn.Dropout2d(0.25),
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
            nn.LeakyReLU(0.01, inplace=True),
        ]
        in_channels = width
    return layers
