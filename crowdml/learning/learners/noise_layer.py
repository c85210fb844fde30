"""Shared parts of the methods with a transition matrix between the true class and the label."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.likelihood import label_nll
from crowdml.learning.wrapped_network import WrappedNetwork

# Smallest probability of a label, so that its logarithm and gradient are finite.
_FLOOR = 1e-12


class WithTransition(WrappedNetwork):
    """A network and a fixed transition matrix P(label | true class), (n_classes, n_classes); rows sum to one."""

    transition: Tensor

    def __init__(self, network: nn.Module, transition: Tensor) -> None:
        super().__init__(network, transition=transition.clone())


def cross_entropy(log_prob: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (n, n_classes) with labels (n,) or distributions (n, n_classes)."""
    return functional.cross_entropy(log_prob, target if target.ndim == 1 else target.to(log_prob.dtype))


def noisy_cross_entropy(log_class: Tensor, transition: Tensor, target: Tensor) -> Tensor:
    """Return `label_nll` for a transition matrix T[c, l] = P(label l | true class c) that may contain zeros."""
    return label_nll(log_class, transition.clamp_min(_FLOOR).log(), target)


def count_transition(truth: Tensor, posterior: Tensor) -> Tensor:
    """Return P(label | true class) (n_classes, n_classes), counted over the items; rows sum to one.

    `truth` (n_items,) holds true classes, `posterior` (n_items, n_classes) the labels as distributions.  A class
    without items gets the row of the identity.
    """
    n_classes = posterior.shape[1]
    counts = posterior.new_zeros((n_classes, n_classes)).index_add_(0, truth, posterior)
    counts = torch.where(counts.sum(dim=1, keepdim=True) > 0, counts, torch.eye(n_classes, device=counts.device))
    return counts / counts.sum(dim=1, keepdim=True)


def full_precision(values: Tensor) -> torch.autocast:
    """Return a context without autocast on the device of the values; autocast rounds matrix products to bfloat16."""
    return torch.autocast(values.device.type, enabled=False)


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless the value is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
