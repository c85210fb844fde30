"""Log-probabilities of classes, and the likelihood of labels under a transition matrix, in the log domain."""

from __future__ import annotations

import torch
from torch import Tensor


def log_probabilities(logits: Tensor) -> Tensor:
    """Return the log-softmax of logits (..., n_classes); bfloat16 logits, from autocast, become float32 first."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)


def label_nll(log_class: Tensor, log_transition: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the items of -log sum_c f_c T[c, l], where l is the label of the item.

    Args:
        log_class: (n, n_classes) log f, log-probabilities of the true class.
        log_transition: (n_classes, n_classes) log P(label | true class) for all items, or (n, n_classes, n_classes)
            with one matrix per item.
        target: (n,) int64 labels, or (n, n_classes) distributions; for distributions the result is the expected loss.
    """
    if target.ndim == 2:
        log_label = torch.logsumexp(log_class[:, :, None] + log_transition, dim=1)
        return -(target * log_label).sum(dim=1).mean()
    if log_transition.ndim == 2:
        of_label = log_transition.T[target]
    else:
        of_label = log_transition.gather(2, target[:, None, None].expand(-1, log_class.shape[1], 1))[:, :, 0]
    return -torch.logsumexp(log_class + of_label, dim=1).mean()
