"""Small-loss selection: which items of a batch are trusted, and how many of them from epoch to epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner
from crowdml.support.search_space import Real, Space, Whole

# (1 - 0.9) * 10 is a little less than 1 in floating point, and the count is rounded down.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class SmallLossLearner(LabelLearner):
    """A learner that trains on the items of small loss, because networks learn right labels before wrong ones.

    The share of a batch that is left out grows over the first epochs, from nothing to `forget_rate`.

    Args:
        forget_rate: share of the items left out at last, in [0, 1).  The papers take the noise rate of the labels
            where errors are symmetric and, in JoCoR, half of it where they are asymmetric.  A learner cannot know it,
            so name it where you do; 0.2 is the noise rate that the authors' programs assume.
        n_gradual: epochs over which the share grows, at least 1 (T_k).
        exponent: while it grows it heads for forget_rate ** exponent, above 0 (c).
    """

    forget_rate: float = 0.2
    n_gradual: int = 10
    exponent: float = 1.0

    SPACE: ClassVar[Space] = {
        **LabelLearner.SPACE,
        "forget_rate": Real(0, 0.8),
        "n_gradual": Whole(1, 40),
        "exponent": Real(0.25, 4, log=True),
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
        """The share left out in an epoch, which counts from 0.

        As in the code of Co-teaching and JoCoR, which share it: `n_gradual` equal steps that begin with 0 in the first
        epoch, then `forget_rate`.
        """
        if epoch >= self.n_gradual:
            return self.forget_rate
        return self.forget_rate**self.exponent * epoch / max(1, self.n_gradual - 1)

    def trusted(self, losses: Tensor, batch: Batch, *, training: bool, among: Tensor | None = None) -> Tensor:
        """`small_losses` at the epoch's rate; all items of `among` where the loss is only measured.

        Without that exception the loss of held-out items would fall because fewer of them count, and early stopping
        would take it for progress.
        """
        return small_losses(losses, self.rate(batch.epoch) if training else 0.0, among)


def small_losses(losses: Tensor, forget_rate: float, among: Tensor | None = None) -> Tensor:
    """(..., n) bool: the items of small loss in each row of (..., n) losses; of equal losses those that come first.

    Args:
        losses: of the items; no gradient is needed.
        forget_rate: share of the items that is left out; the number kept is rounded down, but at least one.
        among: (..., n) bool the items that can be chosen and that the share is of; by default all.
    """
    losses = losses.detach()
    among = torch.ones_like(losses, dtype=torch.bool) if among is None else among.expand_as(losses)
    n_kept = (among.sum(dim=-1, keepdim=True).double() * (1 - forget_rate) + _ROUNDING).floor().clamp_min(1)
    rank = losses.masked_fill(~among, torch.inf).argsort(dim=-1, stable=True).argsort(dim=-1)
    return among & (rank < n_kept)


def mean_over(losses: Tensor, chosen: Tensor) -> Tensor:
    """(...,) mean of (..., n) losses over the chosen items (bool) of each row; 0 where none is chosen."""
    return (losses * chosen).sum(dim=-1) / chosen.sum(dim=-1).clamp_min(1)
