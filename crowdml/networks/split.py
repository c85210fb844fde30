"""Split a network into a feature extractor and the last linear layer."""

from __future__ import annotations

from torch import nn


def split_last_linear(network: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """Return the network without its last linear layer, and this layer.

    The network changes in place: the identity replaces the layer, so that `linear(features(x))` equals the earlier
    `network(x)` with the same parameters.  The last layer is the layer that was registered last; this is right for all
    networks of this package and of torchvision.

    Args:
        network: maps inputs (n, ...) to logits (n, n_classes).

    Returns:
        A network that maps inputs (n, ...) to features (n, linear.in_features), and the linear layer.

    Raises:
        ValueError: the network does not end in a linear layer.
    """
    if isinstance(network, nn.Linear):
        return nn.Identity(), network
    name, last = [(name, layer) for name, layer in network.named_modules() if not list(layer.children())][-1]
    if not isinstance(last, nn.Linear):
        raise ValueError(
            f"this method needs a network that ends in a linear layer; {type(network).__name__} ends in "
            f"{type(last).__name__}"
        )
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    return network, last
