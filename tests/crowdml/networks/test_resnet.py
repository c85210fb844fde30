from __future__ import annotations

import pytest
import torch
from torch import nn

from crowdml.networks import build_network
from crowdml.networks.resnet import _ResidualPair


def build(in_shape: tuple[int, int, int] = (3, 32, 32), n_classes: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return build_network("resnet9", in_shape, n_classes)


def test_resnet9_parameters_and_layers() -> None:
    network = build()
    channels = [(3, 64), (64, 128), (128, 128), (128, 128), (128, 256), (256, 512), (512, 512), (512, 512)]
    expected = sum(9 * a * b + 2 * b for a, b in channels) + 512 * 10 + 10
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    kinds = [type(layer) for layer in network.modules()]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.Linear), kinds.count(nn.MaxPool2d)) == (8, 1, 3)


@pytest.mark.parametrize("in_shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8)])
def test_resnet9_takes_image_sizes(in_shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        assert build(in_shape, 7)(torch.zeros(2, *in_shape)).shape == (2, 7)


def test_resnet9_small_images_are_refused() -> None:
    with pytest.raises(ValueError, match="resnet9 needs images of at least 8x8 pixels, got 7x8"):
        build((1, 7, 8))


def test_a_residual_pair_adds_what_comes_out_after_the_relu() -> None:
    pair = _ResidualPair(4).eval()
    images = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        added = pair(images) - images
        assert (added >= -1e-6).all()
        assert added.abs().sum() > 0
        for parameter in pair.parameters():
            nn.init.zeros_(parameter)
        assert torch.equal(pair(images), images)
