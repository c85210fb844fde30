"""ResNet-9: the short and wide residual network that GeoCrowdNet uses on CIFAR-10."""

from __future__ import annotations

from torch import Tensor, nn

from crowdml.networks.layers import check_size, conv_bn_relu, initialise


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
