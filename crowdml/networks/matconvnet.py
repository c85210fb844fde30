"""The CIFAR-10 network of the MatConvNet examples, based on Caffe's "CIFAR10 quick"."""

from __future__ import annotations

from torch import nn

from crowdml.networks.layers import check_size, initialise


def cifar_quick(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build three 5x5 convolutions (32, 32, 64 channels) with pooling, then 64 hidden units and one linear layer.

    Pooling is 3x3 with stride 2: maximum before the first ReLU, average after the other two.  The windows extend one
    pixel beyond the lower and the right edge, so each pooling halves the sizes, rounded down.  NNAQC (Jindal et al.)
    uses this network for CIFAR-10.

    The example draws weights from normal distributions with deviations chosen by hand; this project initialises like
    He et al.  The example multiplies its learning rate of 0.05 by 0.1 for weights and by 2 for biases, and in the last
    layer again by 0.1; a recipe here has one rate for all.

    Raises:
        ValueError: the images are smaller than 8x8.
    """
    check_size("cifar_quick", in_shape, 8)
    channels, height, width = in_shape
    return initialise(
        nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(3, stride=2, ceil_mode=True),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(3, stride=2, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(64 * (height // 8) * (width // 8), 64),
            nn.ReLU(inplace=True),
            nn.Linear(64, n_classes),
        )
    )
