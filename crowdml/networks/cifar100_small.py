"""The small CNN that the noise adaptation layer was tested with on CIFAR-100."""

from __future__ import annotations

from torch import nn

from crowdml.networks.layers import check_size, initialise


def cnn6_dropout(in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build two blocks of two 3x3 convolutions (32, 64 channels), then 512 hidden units.

    Each block ends with 2x2 max pooling and dropout 0.25.  The network follows the code of Goldberger and Ben-Reuven
    (ICLR 2017): only the third convolution pads, the hidden units have dropout 0.5, and there is no batch
    normalisation.  Their code initialises weights like Glorot and Bengio; this project always like He et al.

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
