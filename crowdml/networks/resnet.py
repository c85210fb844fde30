"""Residual networks for small images: ResNet-20 to ResNet-56, and ResNet-9."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from crowdml.networks.layers import check_size, conv_bn_relu, initialise

_WIDTHS = (16, 32, 64)


def resnet(in_shape: tuple[int, int, int], n_classes: int, *, depth: int) -> nn.Module:
    """Build a residual network of `depth` = 6n + 2 layers (He, Zhang, Ren, Sun, CVPR 2016, section 4.2).

    The layers are one convolution, three stages of n blocks with two convolutions each, a global average and one linear
    layer.  The stages have 16, 32 and 64 channels; the second and the third stage halve the height and the width.
    Shortcuts have no parameters (option A of the paper).  LABNET uses depth 44 for CIFAR-100.

    Raises:
        ValueError: the depth is not 6n + 2, or the images are smaller than 4x4.
    """
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"depth of a residual network must be 6n + 2 with n at least 1, got {depth}")
    check_size(f"resnet{depth}", in_shape, 4)
    n_blocks = (depth - 2) // 6
    blocks: list[nn.Module] = []
    for in_channels, out_channels in pairwise((_WIDTHS[0], *_WIDTHS)):
        blocks.append(_Block(in_channels, out_channels))
        blocks += [_Block(out_channels, out_channels) for _ in range(n_blocks - 1)]
    return initialise(
        nn.Sequential(
            *conv_bn_relu(in_shape[0], _WIDTHS[0]),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(_WIDTHS[-1], n_classes),
        )
    )


class _Block(nn.Module):
    """relu(shortcut(x) + f(x)), where f is two 3x3 convolutions.  A block that adds channels also halves the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.stride = 1 if in_channels == out_channels else 2
        self.new_channels = out_channels - in_channels
        *second, _ = conv_bn_relu(out_channels, out_channels)
        self.residual = nn.Sequential(*conv_bn_relu(in_channels, out_channels, stride=self.stride), *second)

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self._shortcut(images) + self.residual(images))

    def _shortcut(self, images: Tensor) -> Tensor:
        """Return every second pixel, with zeros for the new channels (option A)."""
        if self.new_channels == 0:
            return images
        return F.pad(images[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def resnet9(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build eight 3x3 convolutions with 64 to 512 channels, including two residual pairs, and one linear layer.

    The order is: conv 64 - conv 128, pool - residual pair 128 - conv 256, pool - conv 512, pool - residual pair 512 -
    global max - linear.  Batch normalisation and ReLU follow every convolution; pooling is 2x2 max.  A residual pair
    adds its input to its output, after the ReLU.  The network follows the code of Ibrahim, Nguyen, Fu (ICLR 2023),
    without the biases before a normalisation, because they have no effect.  For 32x32 images the 4x4 pooling at the end
    of their code is the global maximum.

    Raises:
        ValueError: the images are smaller than 8x8.
    """
    check_size("resnet9", in_shape, 8)
    return initialise(
        nn.Sequential(
            *conv_bn_relu(in_shape[0], 64),
            *conv_bn_relu(64, 128),
            nn.MaxPool2d(2),
            _ResidualPair(128),
            *conv_bn_relu(128, 256),
            nn.MaxPool2d(2),
            *conv_bn_relu(256, 512),
            nn.MaxPool2d(2),
            _ResidualPair(512),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(512, n_classes),
        )
    )


class _ResidualPair(nn.Module):
    """x + f(x), where f is two convolutions, each with normalisation and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pair = nn.Sequential(*conv_bn_relu(channels, channels), *conv_bn_relu(channels, channels))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.pair(images)
