"""Small CNNs for digits: `cnn_digits` for 8x8 images, and LeNet."""

from __future__ import annotations

from torch import nn

from crowdml.networks.layers import check_size, conv_bn_relu, initialise


def cnn_digits(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build two convolutions (16, 32 channels) with batch normalisation, ReLU and 2x2 max pooling, and a linear layer.

    This project's own network for 8x8 digits: 20 epochs of 1,297 images take about a second on one core.

    Raises:
        ValueError: the images are smaller than 4x4.
    """
    check_size("cnn_digits", in_shape, 4)
    channels, height, width = in_shape
    return initialise(
        nn.Sequential(
            *conv_bn_relu(channels, 16),
            nn.MaxPool2d(2),
            *conv_bn_relu(16, 32),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * (height // 4) * (width // 4), n_classes),
        )
    )


def lenet(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build LeNet (LeCun et al., Proc. IEEE 86, 1998) with the sizes 20-50-500 of the Caffe and MatConvNet examples.

    Two 5x5 convolutions have 20 and 50 channels and no padding.  2x2 max pooling follows each convolution, without an
    activation function.  500 hidden units have ReLU.  NNAQC (Jindal et al.) uses this network for MNIST.  The examples
    draw weights from N(0, 0.01^2); this project initialises like He et al.

    Raises:
        ValueError: the images are smaller than 16x16, so that the convolutions would leave no pixel.
    """
    check_size("lenet", in_shape, 16)
    channels, height, width = in_shape
    rows, columns = (((side - 4) // 2 - 4) // 2 for side in (height, width))
    return initialise(
        nn.Sequential(
            nn.Conv2d(channels, 20, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(50 * rows * columns, 500),
            nn.ReLU(inplace=True),
            nn.Linear(500, n_classes),
        )
    )
