"""Functions of a target that accept both labels and distributions over classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def expected(values: Tensor, target: Tensor) -> Tensor:
    """Return (n,): the value of each item's label, or the mean value under the item's distribution.

    `values` is (n, n_classes).  `target` holds labels (n,) or distributions (n, n_classes).
    """
    if target.ndim == 1:
        return values.gather(1, target[:, None])[:, 0]
    return (target * values).sum(dim=1)


def distribution(target: Tensor, n_classes: int) -> Tensor:
    """Return labels (n,) as one-hot float32 distributions (n, n_classes), and return distributions unchanged."""
    return functional.one_hot(target, n_classes).to(torch.float32) if target.ndim == 1 else target
