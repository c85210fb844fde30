from __future__ import annotations

import pytest
import torch
from torch import nn

from crowdml.networks import build_network
from crowdml.networks.split import split_last_linear


def build(name: str, in_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    torch.manual_seed(0)
    return build_network(name, in_shape, n_classes)


@pytest.mark.parametrize(
    ("name", "million", "features"), [("resnet18", 11.69, 512), ("resnet34", 21.80, 512), ("resnet50", 25.56, 2048)]
)
def test_sizes_are_those_of_the_papers(name: str, million: float, features: int) -> None:
    network = build(name, (3, 32, 32), 1000)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(million, abs=0.005)
    assert split_last_linear(network)[1].in_features == features


def test_alexnet() -> None:
    network = build("alexnet", (1, 63, 64), 4).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 63, 64)).shape == (2, 4)
    # 61.10 million with 3 channels and 1,000 classes.
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    assert n_parameters == 61_100_840 - 996 * 4097 - 2 * 64 * 121


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels(channels: int) -> None:
    network = build("resnet18", (channels, 32, 40), 5)
    images = torch.randn(2, channels, 32, 40)
    assert network(images).shape == (2, 5)
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert first.weight.shape == (64, channels, 7, 7)
    # The weights are normal with variance 2 / fan_out for any number of channels.
    expected = (2 / (64 * 49)) ** 0.5
    assert first.weight.std().item() == pytest.approx(expected, rel=5 / (2 * first.weight.numel()) ** 0.5)


def test_the_seed_decides_the_weights() -> None:
    one, other = build("resnet18", (1, 32, 32), 5), build("resnet18", (1, 32, 32), 5)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(("name", "smallest"), [("alexnet", 63), ("resnet18", 32), ("resnet34", 32), ("resnet50", 32)])
def test_images_that_are_too_small(name: str, smallest: int) -> None:
    message = f"{name} needs images of at least {smallest}x{smallest} pixels, got 28x{smallest}"
    with pytest.raises(ValueError, match=message):
        build_network(name, (3, 28, smallest), 10)
