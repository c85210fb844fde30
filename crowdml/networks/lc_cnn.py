"""LC-CNN, the small network that NNAQC was tested with on CIFAR-100."""

from __future__ import annotations

from torch import nn

from crowdml.networks.layers import check_size, initialise

_WIDTHS = (64, 128)
_HIDDEN = 512


def lc_cnn(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build two 5x5 convolutions (64, 128 channels) with ReLU and 2x2 max pooling, then 512 hidden units.

    NNAQC (Jindal et al.) describes two convolutions with ReLU and max pooling, and two fully connected layers, without
    sizes.  The sizes of kernels, channels and hidden units and the ReLU after the hidden units are our choice.

    Raises:
        ValueError: the images are smaller than 4x4.
    """
    check_size("lc_cnn", in_shape, 4)
    channels, height, width = in_shape
    first, second = _WIDTHS
    return initialise(
        nn.Sequential(
            nn.Conv2d(channels, first, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(second * (height // 4) * (width // 4), _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(_HIDDEN, n_classes),
        )
    )
