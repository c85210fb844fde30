"""Networks of torchvision for photographs, with the random initialisation of torchvision."""

from __future__ import annotations

from torch import nn

from crowdml.networks.layers import check_size
from crowdml.support.torchvision_import import import_torchvision

# The smallest height and width that suit every layer.  With smaller images AlexNet fails, and some convolutions of the
# residual networks see only padding.
_SMALLEST = {"alexnet": 63, "resnet18": 32, "resnet34": 32, "resnet50": 32}


def torchvision_net(in_shape: tuple[int, int, int], n_classes: int, *, name: str) -> nn.Module:
    """Build AlexNet (Krizhevsky, arXiv 1404.5997) or a residual network for ImageNet (He et al., CVPR 2016, table 1).

    Args:
        in_shape: (channels, height, width); if there are not 3 channels, the first convolution is replaced.
        n_classes: number of logits.
        name: "alexnet", "resnet18", "resnet34" or "resnet50".

    Raises:
        ValueError: the images are smaller than 63x63 for AlexNet, or 32x32 for the other networks.
        ImportError: torchvision is not installed.
    """
    check_size(name, in_shape, _SMALLEST[name])
    network = getattr(import_torchvision().models, name)(weights=None, num_classes=n_classes)
    if in_shape[0] != 3:
        _take_channels(network, in_shape[0])
    return network


def _take_channels(network: nn.Module, channels: int) -> None:
    """Replace the first convolution, to take `channels`.  Its weights are initialised as in the residual networks."""
    path, first = next((path, layer) for path, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    fresh = nn.Conv2d(
        channels,
        first.out_channels,
        kernel_size=(first.kernel_size[0], first.kernel_size[1]),
        stride=(first.stride[0], first.stride[1]),
        padding=first.padding if isinstance(first.padding, str) else (first.padding[0], first.padding[1]),
        bias=first.bias is not None,
    )
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    parent, _, attribute = path.rpartition(".")
    setattr(network.get_submodule(parent), attribute, fresh)
