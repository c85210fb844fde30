"""WrappedNetwork: a network with the parameters or the state of a noise-aware method."""

from __future__ import annotations

from torch import Tensor, nn


class WrappedNetwork(nn.Module):
    """A network with further parameters or state; its forward returns the logits of the network.

    Args:
        network: maps inputs to logits (n, n_classes) of the true class.
        buffers: tensors that belong to the state of the model and are not trained.
    """

    def __init__(self, network: nn.Module, **buffers: Tensor) -> None:
        super().__init__()
        self.network = network
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of the true class, (n, n_classes)."""
        return self.network(inputs)
