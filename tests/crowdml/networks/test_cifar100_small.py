from __future__ import annotations

import pytest
import torch
from torch import nn

from crowdml.networks import build_network


def test_parameter_count_and_layers() -> None:
    network = build_network("cnn6_dropout", (3, 32, 32), 100)
    # 32x32 becomes 30, 28, pooled 14, padded 14, 12, pooled 6: 64 * 6 * 6 -> 512 -> 100.
    convolutions = 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 2 * 32 + 2 * 64
    linear = 2_304 * 512 + 512 + 512 * 100 + 100
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + linear
    dropout = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]
    assert dropout == [0.25, 0.25, 0.5]


@pytest.mark.parametrize("in_shape", [(1, 12, 12), (3, 28, 13), (3, 64, 64)])
def test_other_sizes(in_shape: tuple[int, int, int]) -> None:
    assert build_network("cnn6_dropout", in_shape, 7)(torch.rand(2, *in_shape)).shape == (2, 7)


def test_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="cnn6_dropout needs images of at least 12x12 pixels, got 11x12"):
        build_network("cnn6_dropout", (3, 11, 12), 10)
