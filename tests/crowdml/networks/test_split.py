from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from crowdml.networks import build_network, names
from crowdml.networks.split import split_last_linear


class Nested(nn.Module):
    """A network like AlexNet of torchvision: the last layer is in a nested container."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.body(inputs))


def check(network: nn.Module, inputs: Tensor, n_classes: int) -> None:
    network.eval()
    whole = copy.deepcopy(network)
    features, linear = split_last_linear(network)
    assert linear.out_features == n_classes
    assert features(inputs).shape == (len(inputs), linear.in_features)
    assert torch.equal(linear(features(inputs)), whole(inputs))
    n_parameters = sum(parameter.numel() for part in (features, linear) for parameter in part.parameters())
    assert n_parameters == sum(parameter.numel() for parameter in whole.parameters())


@pytest.mark.parametrize("name", names())
def test_every_network_of_ours_is_its_features_and_its_last_layer(name: str) -> None:
    if name.startswith("mlp"):
        check(build_network(name, (20,), 3), torch.randn(4, 20), 3)
    else:
        side = 64 if name == "alexnet" else 32
        check(build_network(name, (3, side, side), 3), torch.randn(2, 3, side, side), 3)


def test_the_last_layer_may_lie_deep_inside() -> None:
    check(Nested(), torch.randn(4, 4), 3)


def test_a_single_layer_has_its_inputs_as_features() -> None:
    check(nn.Linear(4, 3), torch.randn(2, 4), 3)


def test_a_network_that_ends_otherwise_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a network that ends in a linear layer; Sequential ends in Softmax"):
        split_last_linear(nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1)))
