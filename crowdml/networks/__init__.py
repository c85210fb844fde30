"""Networks by name: they map images or features (n, ...) to logits (n, n_classes).  Torch is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crowdml.support.names import check_name

if TYPE_CHECKING:
    from torch import nn

# Name -> (the function that builds the network as "module:function", the options of the function).
_BUILDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "cnn_digits": ("crowdml.networks.small:cnn_digits", {}),
    "lenet": ("crowdml.networks.small:lenet", {}),
    "cnn8": ("crowdml.networks.deep_cnns:cnn8", {}),
    "cnn7": ("crowdml.networks.deep_cnns:cnn7", {}),
    "cnn9": ("crowdml.networks.deep_cnns:cnn9", {}),
    "resnet9": ("crowdml.networks.resnet:resnet9", {}),
    "resnet20": ("crowdml.networks.resnet:resnet", {"depth": 20}),
    "resnet32": ("crowdml.networks.resnet:resnet", {"depth": 32}),
    "resnet44": ("crowdml.networks.resnet:resnet", {"depth": 44}),
    "resnet56": ("crowdml.networks.resnet:resnet", {"depth": 56}),
    "cifar_quick": ("crowdml.networks.small:cifar_quick", {}),
    "lc_cnn": ("crowdml.networks.small:lc_cnn", {}),
    "alexnet": ("crowdml.networks.torchvision_nets:torchvision_net", {"name": "alexnet"}),
    "resnet18": ("crowdml.networks.torchvision_nets:torchvision_net", {"name": "resnet18"}),
    "resnet34": ("crowdml.networks.torchvision_nets:torchvision_net", {"name": "resnet34"}),
    "resnet50": ("crowdml.networks.torchvision_nets:torchvision_net", {"name": "resnet50"}),
    "cnn6_dropout": ("crowdml.networks.small:cnn6_dropout", {}),
    # Used by JoCoR on MNIST, by the noise adaptation layer, and by the crowd papers on LabelMe and Music.
    "mlp256": ("crowdml.networks.mlp:mlp", {"hidden": (256,)}),
    "mlp500_300": ("crowdml.networks.mlp:mlp", {"hidden": (500, 300), "dropout": 0.5}),
    "mlp128": ("crowdml.networks.mlp:mlp", {"hidden": (128,), "dropout": 0.5}),
    "mlp128_bn": ("crowdml.networks.mlp:mlp", {"hidden": (128,), "dropout": 0.5, "normalise": True}),
}


def names() -> tuple[str, ...]:
    """Return the names that `build_network` accepts."""
    return tuple(_BUILDERS)


def build_network(name: str, in_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Build a freshly initialised network.  The weights come from torch's global generator (`torch.manual_seed`).

    Args:
        name: one of `names()`.
        in_shape: (channels, height, width) of the images, or (n_features,).  Inputs should be normalised.
        n_classes: number of logits.

    Raises:
        UnknownNameError: no network has this name (a ValueError).
        ValueError: the images are too small for the network, or there are fewer than two classes.
    """
    target, options = _BUILDERS[check_name("network", name, _BUILDERS)]
    if len(in_shape) not in (1, 3) or min(in_shape) < 1:
        raise ValueError(
            f"in_shape must be (channels, height, width) or (n_features,), all at least 1, got {tuple(in_shape)}"
        )
    if len(in_shape) == 1 and not name.startswith("mlp"):
        mlps = ", ".join(known for known in _BUILDERS if known.startswith("mlp"))
        raise ValueError(f"network {name} needs images; for features use one of {mlps}")
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
    module, _, function = target.partition(":")
    return getattr(import_module(module), function)(tuple(in_shape), n_classes, **options)
