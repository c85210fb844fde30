"""Load pretrained weights into a network with a new last layer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from crowdml.networks import build_network

_NAMED = 3  # keys that an error message lists


def load_backbone(name: str, in_shape: tuple[int, ...], n_classes: int, weights: Path) -> nn.Module:
    """Build a network with the weights of a file, but with a freshly initialised last layer.

    Args:
        name, in_shape, n_classes: see `build_network`.  The network in the file may have another number of classes.
        weights: a state_dict saved by torch, such as the .pth files of torchvision.  Only tensors are read, so the file
            cannot run code.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file holds no state_dict, or weights of another network.  The message says which weights are
            missing, are left over or have another shape.
    """
    network = build_network(name, in_shape, n_classes)
    given = _read(weights)
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"network {name} has no linear layer to replace")
    own = network.state_dict()
    of_last = {f"{linear[-1]}.{part}" for part, _ in network.get_submodule(linear[-1]).named_parameters()}
    # Files from before torch 0.4.1 lack the counters of batch normalisation; torch fills them in.
    counters = {key for key in own if key.endswith(".num_batches_tracked")}
    shared = own.keys() & given.keys()
    faults = [
        *_fault("missing", own.keys() - given.keys() - of_last - counters),
        *_fault("left over", given.keys() - own.keys()),
        *_fault("of another shape", {key for key in shared if own[key].shape != given[key].shape} - of_last),
    ]
    if faults:
        raise ValueError(f"{weights} does not fit the network {name}; {'; '.join(faults)}")
    network.load_state_dict({key: value for key, value in given.items() if key not in of_last}, strict=False)
    return network


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers of torch raise errors of many types
        raise ValueError(f"{path} cannot be read as weights ({type(error).__name__})") from error
    if not (isinstance(state, dict) and state and all(isinstance(value, Tensor) for value in state.values())):
        raise ValueError(f"{path} holds no state_dict (a dictionary from names to tensors)")
    return state


def _fault(what: str, keys: Iterable[str]) -> list[str]:
    names = sorted(keys)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"{what}: {', '.join(names[:_NAMED])}{more}"] if names else []
