"""Residual networks for small images (He, Zhang, Ren, Sun, CVPR 2016, section 4.2)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from crowdml.networks.layers import check_size, conv_bn_relu, initialise

_WIDTHS = (16, 32, 64)


def resnet(in_shape: tuple[int, int, int], n_classes: int, *, depth: int) -> nn.Module:
    """Build a residual network of `depth` = 6n + 2 layers.

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
