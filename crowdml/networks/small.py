"""Small CNNs: `cnn_digits`, LeNet, LC-CNN, the CIFAR-10 network of MatConvNet, and CNN6 with dropout."""

from __future__ import annotations

from torch import nn

from crowdml.networks.layers import check_size, conv_bn_relu, initialise


def cnn_digits(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build two convolutions (16, 32 channels) with batch normalisation, ReLU and 2x2 max pooling, and a linear layer.

    This is the project's own network for 8x8 digits: 20 epochs of 1,297 images take about a second on one core.

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


def lc_cnn(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build LC-CNN: two 5x5 convolutions (64, 128 channels) with ReLU and 2x2 max pooling, then 512 hidden units.

    NNAQC (Jindal et al.) uses LC-CNN for CIFAR-100.  The paper describes two convolutions with ReLU and max pooling,
    and two fully connected layers, without sizes.  The sizes of kernels, channels and hidden units and the ReLU after
    the hidden units are our choice.

    Raises:
        ValueError: the images are smaller than 4x4.
    """
    check_size("lc_cnn", in_shape, 4)
    channels, height, width = in_shape
    return initialise(
        nn.Sequential(
            nn.Conv2d(channels, 64, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128 * (height // 4) * (width // 4), 512),
            nn.ReLU(inplace=True),
            nn.Linear(512, n_classes),
        )
    )


def cifar_quick(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build three 5x5 convolutions (32, 32, 64 channels) with pooling, then 64 hidden units and one linear layer.

    This is the CIFAR-10 network of the MatConvNet examples, based on Caffe's "CIFAR10 quick".
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


def cnn6_dropout(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build two blocks of two 3x3 convolutions (32, 64 channels), then 512 hidden units.

    Each block ends with 2x2 max pooling and dropout 0.25.  The network follows the code of Goldberger and Ben-Reuven
    (ICLR 2017) for CIFAR-100: only the third convolution pads, the hidden units have dropout 0.5, and there is no batch
    normalisation.  Their code initialises weights like Glorot and Bengio; this project initialises like He et al.

    Raises:
        ValueError: the images are smaller than 12x12, so that the convolutions would leave no pixel.
    """
    check_size("cnn6_dropout", in_shape, 12)
    channels, height, width = in_shape
    rows, columns = (((side - 4) // 2 - 2) // 2 for side in (height, width))
    return initialise(
        nn.Sequential(
            *_block(channels, 32, padding=0),
            *_block(32, 64, padding=1),
            nn.Flatten(),
            nn.Linear(64 * rows * columns, 512),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(512, n_classes),
        )
    )


def _block(in_channels: int, out_channels: int, *, padding: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=padding),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
    ]
