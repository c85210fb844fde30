"""WorkerMatrices: a network with the workers' confusion matrices as parameters."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.wrapped_network import WrappedNetwork

RowFunction = Literal["softmax", "softplus"]
"""Function that turns free numbers into a row of a confusion matrix: exp or softplus, divided by the sum of the row."""

# softplus of smaller numbers is so close to 0 that float32 cannot hold its logarithm.
_LEAST = -80.0


class WorkerMatrices(WrappedNetwork):
    """A network of the true class, and a learned confusion matrix for each worker.

    Args:
        network: maps inputs to logits (n, n_classes) of the true class.
        free: (n_workers, n_classes, n_classes) start of the free parameters, indexed [worker, true, given].
        rows: function that turns the free parameters into distributions.
    """

    def __init__(self, network: nn.Module, free: Tensor, rows: RowFunction = "softmax") -> None:
        super().__init__(network)
        self.free = nn.Parameter(free.clone())
        self._rows = rows

    def log_confusion(self) -> Tensor:
        """Return the logarithm of P(label | true class) per worker, (n_workers, n_classes, n_classes)."""
        free = self.free.float() if self.free.dtype == torch.bfloat16 else self.free
        if self._rows == "softplus":
            free = functional.softplus(free.clamp_min(_LEAST)).log()
        return free.log_softmax(dim=2)


def log_confusion(model: nn.Module) -> Tensor:
    """Return `model.log_confusion()` of a model that must be a WorkerMatrices."""
    assert isinstance(model, WorkerMatrices)
    return model.log_confusion()


def diagonal(n_workers: int, n_classes: int, on: float = 1.0, off: float = 0.0) -> Tensor:
    """Return equal matrices (n_workers, n_classes, n_classes), with `on` on the diagonal and `off` elsewhere."""
    return ((on - off) * torch.eye(n_classes) + off).repeat(n_workers, 1, 1)
