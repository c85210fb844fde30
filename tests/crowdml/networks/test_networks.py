"""The networks: parameter counts calculated by hand, shapes, gradients, initialisation, learning on the digits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crowdml import datasets
from crowdml.networks import build_network, names
from crowdml.networks.resnet import _Block, resnet

SHAPES = {"cnn_digits": (1, 8, 8), "lenet": (1, 28, 28), "alexnet": (3, 64, 64)}
CIFAR = (3, 32, 32)


def build(name: str, seed: int = 0, n_classes: int = 10) -> nn.Module:
    torch.manual_seed(seed)
    return build_network(name, SHAPES.get(name, CIFAR), n_classes)


def images_for(name: str, n_items: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n_items, *SHAPES.get(name, CIFAR), generator=generator)


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def layers(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, kind)]


def resnet_parameters(n: int) -> int:
    """Count 3x3 weights, two parameters per normalised channel, and 64 * 10 + 10 in the last layer."""
    first = 9 * 3 * 16 + 2 * 16
    stages = [(16, 16), (16, 32), (32, 64)]
    return first + sum(9 * a * b + (2 * n - 1) * 9 * b * b + 2 * n * 2 * b for a, b in stages) + 650


@pytest.mark.parametrize(
    ("name", "count"),
    [
        # 3x3 convolutions 1-16-32, normalisations, 32 * 2 * 2 -> 10
        ("cnn_digits", 9 * 16 + 2 * 16 + 9 * 16 * 32 + 2 * 32 + 128 * 10 + 10),
        # 431 k as in Caffe's example: 5x5 convolutions 1-20-50, 50 * 4 * 4 -> 500 -> 10
        ("lenet", 520 + 25_050 + 400_500 + 5_010),
        # 3x3 convolutions 3-64-64-128-128-196-196, normalisations, 196 * 4 * 4 -> 256 -> 10
        ("cnn8", 9 * (192 + 64**2 + 64 * 128 + 128**2 + 128 * 196 + 196**2) + 4 * 388 + 3_136 * 256 + 512 + 2_570),
        # He et al., table 6: 0.27 M, 0.46 M, 0.66 M, 0.85 M
        ("resnet20", 269_722),
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet56", 853_018),
    ],
)
def test_parameter_counts(name: str, count: int):
    assert n_parameters(build(name)) == count


@pytest.mark.parametrize("depth", [20, 44])
def test_resnet_parameter_count_formula_and_depth(depth: int):
    network = resnet(CIFAR, 10, depth=depth)
    assert n_parameters(network) == resnet_parameters((depth - 2) // 6)
    assert len(layers(network, nn.Conv2d)) + len(layers(network, nn.Linear)) == depth


def test_cnn8_has_six_convolutions_and_two_linear_layers():
    network = build("cnn8")
    assert len(layers(network, nn.Conv2d)) == 6
    assert len(layers(network, nn.Linear)) == 2


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("n_classes", [2, 100])
def test_output_shape(name: str, n_classes: int):
    with torch.no_grad():
        assert build(name, n_classes=n_classes)(images_for(name)).shape == (4, n_classes)


@pytest.mark.parametrize(
    ("name", "in_shape"),
    [
        ("cnn_digits", (3, 4, 4)),
        ("cnn_digits", (1, 28, 28)),
        ("lenet", (3, 16, 16)),
        ("lenet", (3, 32, 28)),
        ("cnn8", (1, 8, 8)),
        ("cnn8", (1, 28, 28)),
        ("resnet20", (1, 4, 4)),
        ("resnet20", (1, 28, 27)),
    ],
)
def test_other_channels_and_sizes(name: str, in_shape: tuple[int, int, int]):
    assert build_network(name, in_shape, 7)(torch.zeros(2, *in_shape)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "in_shape", "message"),
    [
        ("cnn_digits", (1, 3, 8), "cnn_digits needs images of at least 4x4 pixels, got 3x8"),
        ("lenet", (1, 8, 8), "lenet needs images of at least 16x16 pixels, got 8x8"),
        ("lenet", (1, 28, 15), "lenet needs images of at least 16x16 pixels, got 28x15"),
        ("cnn8", (1, 7, 7), "cnn8 needs images of at least 8x8 pixels, got 7x7"),
        ("resnet44", (3, 2, 2), "resnet44 needs images of at least 4x4 pixels, got 2x2"),
        ("cnn8", (0, 32, 32), r"in_shape must be .* all at least 1, got \(0, 32, 32\)"),
        ("cnn8", (32, 32), r"in_shape must be .* got \(32, 32\)"),
    ],
)
def test_images_that_do_not_fit(name: str, in_shape: tuple[int, int, int], message: str):
    with pytest.raises(ValueError, match=message):
        build_network(name, in_shape, 10)


def test_other_errors():
    with pytest.raises(ValueError, match="unknown network 'resnet-44'; did you mean resnet44"):
        build_network("resnet-44", CIFAR, 10)
    with pytest.raises(ValueError, match="n_classes must be at least 2, got 1"):
        build_network("cnn8", CIFAR, 1)
    for depth in (2, 21):
        with pytest.raises(ValueError, match=rf"depth .* must be 6n \+ 2 with n at least 1, got {depth}"):
            resnet(CIFAR, 10, depth=depth)


@pytest.mark.parametrize("name", names())
def test_gradient_reaches_every_parameter(name: str):
    network = build(name)
    F.cross_entropy(network(images_for(name)), torch.arange(4)).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", ["cnn_digits", "lenet", "cnn8", "resnet20"])
def test_the_seed_decides_the_network(name: str):
    images = images_for(name)
    with torch.no_grad():
        first, again, other = (build(name, seed).eval()(images) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("name", ["cnn_digits", "lenet", "cnn8", "resnet20"])
def test_evaluation_sees_each_image_alone(name: str):
    network, images = build(name).eval(), images_for(name)
    with torch.no_grad():
        together, alone = network(images), torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["cnn_digits", "lenet", "cnn8", "resnet44"])
def test_weights_are_drawn_as_he_et_al(name: str):
    network = build(name)
    for layer in [*layers(network, nn.Conv2d), *layers(network, nn.Linear)]:
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, nn.Parameter)
        assert bias is None or isinstance(bias, nn.Parameter)
        expected = (2 / weight[0].numel()) ** 0.5
        # The standard deviation of a sample of n has a standard error of about 1 / sqrt(2 n).
        assert weight.std().item() == pytest.approx(expected, rel=5 / (2 * weight.numel()) ** 0.5)
        assert bias is None or not bias.any()


@pytest.mark.parametrize("name", ["cnn_digits", "cnn8", "resnet20"])
def test_no_bias_before_a_normalisation(name: str):
    network = build(name)
    assert all(layer.bias is None for layer in layers(network, nn.Conv2d))
    assert sum(layer.bias is not None for layer in layers(network, nn.Linear)) == 1  # the last layer


def test_shortcut_takes_every_second_pixel_and_adds_empty_channels():
    block = _Block(1, 3).eval()
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    images = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    images[0, 0, 0, 2] = -3.0
    expected = torch.zeros(1, 3, 2, 2)
    expected[0, 0] = torch.tensor([[1.0, 0.0], [7.0, 9.0]])  # relu of the corners 1, -3, 7, 9
    assert torch.equal(block(images), expected)


def test_block_of_equal_width_is_the_identity_when_its_residual_is_zero():
    block = _Block(4, 4).eval()
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    images = torch.rand(2, 4, 5, 5)
    assert torch.equal(block(images), images)


def test_cnn_digits_learns_the_digits():
    data = datasets.load_images("digits")
    mean, std = datasets.channel_statistics(data.train_images)  # pyright: ignore[reportArgumentType]
    train, test = (
        ((torch.from_numpy(part) / 255 - mean[0]) / std[0]).float() for part in (data.train_images, data.test_images)
    )
    labels, truth = torch.from_numpy(data.train_labels), torch.from_numpy(data.test_labels)
    network = build("cnn_digits")
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(20):
        for batch in torch.randperm(len(train)).split(64):
            optimiser.zero_grad()
            F.cross_entropy(network(train[batch]), labels[batch]).backward()
            optimiser.step()
    with torch.no_grad():
        accuracy = (network.eval()(test).argmax(dim=1) == truth).double().mean().item()
    assert accuracy >= 0.97


def test_names_are_known_without_torch():
    script = "import sys, crowdml.networks as n; n.names(); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "False"
