"""Fully connected networks, for features and for small images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from crowdml.networks.layers import initialise


def mlp(
    in_shape: tuple[int, ...], n_classes: int, *, hidden: Sequence[int], dropout: float = 0.0, normalise: bool = False
) -> nn.Module:
    """Build hidden layers with ReLU, and one linear layer.

    Args:
        in_shape, n_classes: the shape of one item (images are flattened), and the number of logits.
        hidden: number of units of each hidden layer.
        dropout: share of the units of each hidden layer that training leaves out.
        normalise: apply batch normalisation to the inputs of the network and of the last layer.
    """
    n_inputs = math.prod(in_shape)
    layers: list[nn.Module] = [nn.Flatten()]
    if normalise:
        layers.append(nn.BatchNorm1d(n_inputs))
    for n_in, n_out in pairwise((n_inputs, *hidden)):
        layers += [nn.Linear(n_in, n_out), nn.ReLU(inplace=True)]
        if dropout:
            layers.append(nn.Dropout(dropout))
    if normalise:
        layers.append(nn.BatchNorm1d(hidden[-1]))
    return initialise(nn.Sequential(*layers, nn.Linear(hidden[-1], n_classes)))
