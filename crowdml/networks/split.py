"""Split a network into a feature extractor and the last linear layer."""

from __future__ import annotations

from torch import nn


def split_last_linear(network: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """Split a network from inputs (n, ...) to logits (n, n_classes) into its features and its last linear layer.

    The network changes in place: the identity replaces the linear layer.  `linear(features(x))` then equals the earlier
    `network(x)`, with the same parameters.  The last layer is the layer that was registered last, as in all networks of
    this package and of torchvision.

    Returns:
        A network that maps inputs (n, ...) to features (n, linear.in_features), and the linear layer.

    Raises:
        ValueError: the network does not end in a linear layer.
    """
    if isinstance(network, nn.Linear):
        return nn.Identity(), network
    name, last = [(name, layer) for name, layer in network.named_modules() if not list(layer.children())][-1]
    if not isinstance(last, nn.Linear):
        kinds = f"{type(network).__name__} ends in {type(last).__name__}"
        raise ValueError(f"this method needs a network that ends in a linear layer; {kinds}")
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    return network, last
