"""Small-loss selection: trust the items of a batch with the smallest losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner
from crowdml.support.search_space import Float, Space, Whole

# (1 - 0.9) * 10 is slightly below 1 in floating point, and the count is rounded down.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class SmallLossLearner(LabelLearner):
    """A learner that trains on the items of small loss, because networks learn correct labels before wrong ones.

    The share of a batch that is left out grows from 0 to `forget_rate` over the first epochs.

    Args:
        target: see LabelLearner.
        forget_rate: final share of the items that are left out, in [0, 1).  The papers take the noise rate of the
            labels; JoCoR takes half of it for asymmetric noise.  Set it if you know the noise rate.  0.2 is the default
            of the authors' programs.
        n_gradual: T_k of the papers, number of epochs over which the share grows, at least 1.
        exponent: c of the papers, above 0.  During the growth, the share rises towards forget_rate ** exponent.
    """

    forget_rate: float = 0.2
    n_gradual: int = 10
    exponent: float = 1.0

    SPACE: ClassVar[Space] = {
        **LabelLearner.SPACE,
        "forget_rate": Float(0, 0.8),
        "n_gradual": Whole(1, 40),
        "exponent": Float(0.25, 4, log=True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.forget_rate < 1:
            raise ValueError(f"forget_rate must be in [0, 1), got {self.forget_rate}")
        if self.n_gradual < 1:
            raise ValueError(f"n_gradual must be at least 1, got {self.n_gradual}")
        if not (self.exponent > 0 and math.isfinite(self.exponent)):
            raise ValueError(f"exponent must be above 0, got {self.exponent}")

    def rate(self, epoch: int) -> float:
        """Return the share of items that are left out in an epoch; epochs count from 0.

        As in the code of Co-teaching and JoCoR, the share grows from 0 in `n_gradual` equal steps, one per epoch, and
        is then `forget_rate`.
        """
        if epoch >= self.n_gradual:
            return self.forget_rate
        return self.forget_rate**self.exponent * epoch / max(1, self.n_gradual - 1)

    def trusted(self, losses: Tensor, batch: Batch, *, training: bool, among: Tensor | None = None) -> Tensor:
        """Return (..., n) bool: the items of small loss at the rate of the epoch, see `small_losses`.

        For held-out items (`training` is False), all items of `among` count.  Otherwise the validation loss would fall
        because fewer items count, and early stopping would take this for progress.
        """
        return small_losses(losses, self.rate(batch.epoch) if training else 0.0, among)


def small_losses(losses: Tensor, forget_rate: float, among: Tensor | None = None) -> Tensor:
    """Return (..., n) bool: the items of small loss in each row; among equal losses, the first items.

    Args:
        losses: (..., n) losses of the items.
        forget_rate: share of the items that is left out; the number of kept items is rounded down, but at least one.
        among: (..., n) bool: the items to choose from, to which the share applies; by default all.
    """
    losses = losses.detach()
    among = torch.ones_like(losses, dtype=torch.bool) if among is None else among.expand_as(losses)
    n_kept = (among.sum(dim=-1, keepdim=True).double() * (1 - forget_rate) + _ROUNDING).floor().clamp_min(1)
    rank = losses.masked_fill(~among, torch.inf).argsort(dim=-1, stable=True).argsort(dim=-1)
    return among & (rank < n_kept)


def mean_over(losses: Tensor, chosen: Tensor) -> Tensor:
    """Return (...,) the mean of (..., n) losses over the chosen items (bool) of each row, or 0 if none is chosen."""
    return (losses * chosen).sum(dim=-1) / chosen.sum(dim=-1).clamp_min(1)
