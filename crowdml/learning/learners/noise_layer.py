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
    """A network and a transition matrix that is not learned.

    Args:
        network: maps inputs to logits (n, n_classes) of the true class; so does this module.
        transition: (n_classes, n_classes) P(label | true class); rows sum to one.
    """

    transition: Tensor

    def __init__(self, network: nn.Module, transition: Tensor) -> None:
        super().__init__(network)
        self.register_buffer("transition", transition.clone())


def cross_entropy(log_prob: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy, scalar.

    Args:
        log_prob: (n, n_classes) logarithms of probabilities, or logits.
        target: (n,) int64 labels or (n, n_classes) distributions.
    """
    return functional.cross_entropy(log_prob, target if target.ndim == 1 else target.to(log_prob.dtype))


def noisy_cross_entropy(log_class: Tensor, transition: Tensor, target: Tensor) -> Tensor:
    """Return the mean of -log sum_c f_c T[c, l] over the items, scalar.

    For a target distribution the result is the expected loss.

    Args:
        log_class: (n, n_classes) log f, log-probabilities of the true class.
        transition: (n_classes, n_classes) T[c, l] = P(label l | true class c).
        target: (n,) int64 labels or (n, n_classes) distributions of the label.
    """
    return label_nll(log_class, transition.clamp_min(_FLOOR).log(), target)


def count_transition(truth: Tensor, posterior: Tensor) -> Tensor:
    """Return P(label | true class), counted over the items, as (n_classes, n_classes); rows sum to one.

    The row of a class without items is that row of the identity.

    Args:
        truth: (n_items,) int64 true classes.
        posterior: (n_items, n_classes) labels as distributions.
    """
    n_classes = posterior.shape[1]
    counts = posterior.new_zeros((n_classes, n_classes)).index_add_(0, truth, posterior)
    counts = torch.where(counts.sum(dim=1, keepdim=True) > 0, counts, torch.eye(n_classes, device=counts.device))
    return counts / counts.sum(dim=1, keepdim=True)


def full_precision(values: Tensor) -> torch.autocast:
    """Return a context in which autocast does not round matrix products to bfloat16, on the device of the values."""
    return torch.autocast(values.device.type, enabled=False)


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless the value is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
