"""Treat labels and distributions over classes as targets of the same kind."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def expected(values: Tensor, target: Tensor) -> Tensor:
    """Return (n,) the value of each item's class, or its expectation under the item's distribution.

    Args:
        values: (n, n_classes) one value per item and class.
        target: (n,) int64 labels, or (n, n_classes) distributions.
    """
    if target.ndim == 1:
        return values.gather(1, target[:, None])[:, 0]
    return (target * values).sum(dim=1)


def distribution(target: Tensor, n_classes: int) -> Tensor:
    """Return distributions (n, n_classes) float32; a label becomes a distribution with all mass on its class.

    Args:
        target: (n,) int64 labels, or (n, n_classes) distributions, which are returned unchanged.
        n_classes: number of classes.
    """
    return functional.one_hot(target, n_classes).to(torch.float32) if target.ndim == 1 else target
