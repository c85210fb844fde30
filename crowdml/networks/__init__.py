"""Networks by name: images or features (n, ...) in, logits (n, n_classes) out.  Imports torch when used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crowdml.support.names import check_name

if TYPE_CHECKING:
    from torch import nn

# Name -> what builds it, as "module:function", and its options.
_BUILDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "cnn_digits": ("crowdml.networks.small:cnn_digits", {}),
    "lenet": ("crowdml.networks.small:lenet", {}),
    "cnn8": ("crowdml.networks.cnn8:cnn8", {}),
    "cnn7": ("crowdml.networks.cnn7:cnn7", {}),
    "cnn9": ("crowdml.networks.cnn9:cnn9", {}),
    "resnet9": ("crowdml.networks.resnet9:resnet9", {}),
    "resnet20": ("crowdml.networks.resnet:resnet", {"depth": 20}),
    "resnet32": ("crowdml.networks.resnet:resnet", {"depth": 32}),
    "resnet44": ("crowdml.networks.resnet:resnet", {"depth": 44}),
    "resnet56": ("crowdml.networks.resnet:resnet", {"depth": 56}),
    "cifar_quick": ("crowdml.networks.matconvnet:cifar_quick", {}),
    "lc_cnn": ("crowdml.networks.lc_cnn:lc_cnn", {}),
    "alexnet": ("crowdml.networks.torchvision_nets:torchvision_net", {"name": "alexnet"}),
    "resnet18": ("crowdml.networks.torchvision_nets:torchvision_net", {"name": "resnet18"}),
    "resnet34": ("crowdml.networks.torchvision_nets:torchvision_net", {"name": "resnet34"}),
    "resnet50": ("crowdml.networks.torchvision_nets:torchvision_net", {"name": "resnet50"}),
    "cnn6_dropout": ("crowdml.networks.cifar100_small:cnn6_dropout", {}),
    # Of JoCoR on MNIST, of the noise adaptation layer, and of LabelMe and Music in the crowd papers.
    "mlp256": ("crowdml.networks.mlp:mlp", {"hidden": (256,)}),
    "mlp500_300": ("crowdml.networks.mlp:mlp", {"hidden": (500, 300), "dropout": 0.5}),
    "mlp128": ("crowdml.networks.mlp:mlp", {"hidden": (128,), "dropout": 0.5}),
    "mlp128_bn": ("crowdml.networks.mlp:mlp", {"hidden": (128,), "dropout": 0.5, "normalise": True}),
}


def names() -> tuple[str, ...]:
    """The names that `build_network` takes."""
    return tuple(_BUILDERS)


def build_network(name: str, in_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """A freshly initialised network; its random draws come from torch's global generator (`torch.manual_seed`).

    Args:
        name: one of `names()`.
        in_shape: (channels, height, width) of the images or (n_features,), which are expected normalised.
        n_classes: number of logits.

    Raises:
        UnknownNameError: no such network (a ValueError).
        ValueError: images too small for the network, or fewer than two classes.
    """
    target, options = _BUILDERS[check_name("network", name, _BUILDERS)]
    if len(in_shape) not in (1, 3) or min(in_shape) < 1:
        raise ValueError(
            f"in_shape must be (channels, height, width) or (n_features,), all at least 1, got {tuple(in_shape)}"
        )
    if len(in_shape) == 1 and not name.startswith("mlp"):
        mlps = ", ".join(known for known in _BUILDERS if known.startswith("mlp"))
        raise ValueError(f"network {name} takes images; for features take one of {mlps}")
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
    module, _, function = target.partition(":")
    return getattr(import_module(module), function)(tuple(in_shape), n_classes, **options)
