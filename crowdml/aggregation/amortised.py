"""Amortised inference: a network maps an item's annotations to its posterior, and the worker matrices decode it.

Encoder and decoder are trained together by Adam on the evidence lower bound, with a weighted divergence:

    sum over items i of  sum_c q_i(c) log P(annotations of i | c)  -  kl_weight KL(q_i | prior_i).

P is the likelihood of Dawid-Skene.  The sum over the classes is exact, so nothing is sampled.  Annotations stay sparse:
each (worker, label) has a row in a table, and the rows of an item's annotations are added up.  All numbers are float64,
so that the order of the additions cannot change the result noticeably.  A small crowd does not become faster with
several threads: on a busy machine, use one thread per fit (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from crowdml.aggregation.aggregator import Sizes, TieRule, check_least, dense_cells
from crowdml.aggregation.inference.confusion import FLOOR
from crowdml.aggregation.inference.on_device import sparse_tensor
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Float, Space, Whole
from crowdml.support.torch_device import usable_device

TORCH_CELLS = 1 << 22
"""Cells that torch uses for itself: threads, optimiser, workspaces."""


@dataclass(frozen=True)
class AmortisedTraining(TieRule):
    """How encoder and decoder are trained.  A method with an encoder adds its own options.

    Args:
        learning_rate: learning rate of Adam.
        pretraining_epochs: number of epochs in which the encoder alone learns the vote shares.
        epochs: number of epochs in which encoder and decoder are trained together.
        batch_size: items per step.  A larger crowd is split at random into batches, once before training.  The order
            of the batches is random in every epoch.
        kl_weight: weight of the divergence from the prior; 1 is the evidence lower bound.
        smoothing: pseudo-count of every cell of the workers' matrices, added to their histories.
        device: a torch device.  "auto" is a GPU if there is one.
    """

    learning_rate: float = 0.005
    pretraining_epochs: int = 50
    epochs: int = 100
    batch_size: int = 65_536
    kl_weight: float = 1.0
    smoothing: float = 0.01
    device: str = "auto"

    SPACE: ClassVar[Space] = {
        "learning_rate": Float(1e-4, 5e-2, log=True),
        "pretraining_epochs": Whole(0, 200),
        "epochs": Whole(20, 400, log=True),
        "kl_weight": Float(0.01, 10, log=True),
        "smoothing": Float(0, 0.5),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        check_least(self, 0, "pretraining_epochs", "kl_weight", "smoothing")
        check_least(self, 1, "epochs", "batch_size")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return dense_cells(sizes, posteriors=30, matrices=35) + 12 * sizes.n_annotations + TORCH_CELLS


class ItemBatch(NamedTuple):
    """Some items and their annotations.

    Attributes:
        item: (n,) indices of the items.
        given: (n, n_workers * n_classes) sparse: how often worker w gave the item label l, at w * n_classes + l.
        received: the transpose of `given`, stored by row.  A product with a transposed view is slow, and on a GPU its
            sums have no fixed order.
    """

    item: Tensor
    given: Tensor
    received: Tensor

    def add_up(self, table: Tensor) -> Tensor:
        """Return (n, width) the sum of each item's rows in a table (n_workers * n_classes, width)."""
        return _Product.apply(self.given, self.received, table)  # pyright: ignore[reportReturnType]


class Encoder(nn.Module):
    """Maps a batch to unnormalised log posteriors (n, n_classes)."""

    def penalty(self) -> Tensor | float:
        """Return a penalty that is added to the mean loss per item."""
        return 0.0


class AmortisedFit(NamedTuple):
    """The result of training.

    Attributes:
        posterior: (n_items, n_classes) by the encoder.
        confusion: (n_workers, n_classes, n_classes) by the decoder.
        objective: minus the mean loss per item in each epoch.  The weights change within an epoch, so the objective can
            fall.
    """

    posterior: Array
    confusion: Array
    objective: tuple[float, ...]


def train(
    training: AmortisedTraining,
    crowd: CrowdLabels,
    encoder: Encoder,
    draws: torch.Generator,
    first: Array,
    log_prior: Array,
    decoder: Array,
) -> AmortisedFit:
    """Train an encoder alone, then together with the decoder.

    Args:
        crowd: the annotations.  The bound of a gold item is the log probability of its annotations and its class.  The
            encoder learns this class.
        encoder, draws: a new encoder, and a generator on the CPU for the order of the items.
        first: (n_items, n_classes) the posterior that the encoder learns alone.
        log_prior: (n_classes,) or (n_items, n_classes).
        decoder: (n_workers, n_classes, n_classes) first logits of the decoder, at [w, true, given].
    """
    device = usable_device(training.device)
    n_items, n_classes = first.shape
    encoder = encoder.to(device)
    target, prior = (torch.from_numpy(part).to(device) for part in (first, log_prior + np.zeros_like(first)))
    logits = nn.Parameter(torch.from_numpy(decoder).to(device))
    pseudo_counts = torch.full_like(logits, training.smoothing, requires_grad=False)
    if crowd.history is not None:
        pseudo_counts += torch.from_numpy(crowd.history).to(device)
    gold = np.full(n_items, -1) if crowd.gold is None else crowd.gold
    known = torch.from_numpy(gold >= 0).to(device)[:, None]

    def imitation(batch: ItemBatch) -> Tensor:
        return -(target[batch.item] * log_softmax(encoder(batch), dim=1)).sum(dim=1).mean()

    def minus_bound(batch: ItemBatch) -> Tensor:
        log_q = log_softmax(encoder(batch), dim=1)
        log_confusion = log_softmax(logits, dim=2)
        log_likelihood = batch.add_up(log_confusion.transpose(1, 2).reshape(-1, n_classes))
        divergence = log_q.exp() * (log_q - prior[batch.item])
        free = training.kl_weight * divergence - log_q.exp() * log_likelihood
        # The first posterior of a gold item is certain of its class.
        fixed = -target[batch.item] * (log_likelihood + log_q)
        of_item = torch.where(known[batch.item], fixed, free).sum(dim=1).mean()
        return of_item - (pseudo_counts * log_confusion).sum() / n_items + encoder.penalty()

    batches = split(crowd, training.batch_size, draws, device)

    def descend(parameters: list[nn.Parameter], loss: Callable[[ItemBatch], Tensor], epochs: int) -> list[float]:
        optimizer = torch.optim.Adam(parameters, lr=training.learning_rate, fused=True)
        losses: list[float] = []
        for _ in range(epochs):
            total = torch.zeros((), dtype=torch.float64, device=device)
            for number in torch.randperm(len(batches), generator=draws).tolist():
                batch = batches[number]
                value = loss(batch)
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                optimizer.step()
                total += value.detach() * len(batch.item)
            losses.append(float(total) / n_items)
        return losses

    descend(list(encoder.parameters()), imitation, training.pretraining_epochs)
    losses = descend([*encoder.parameters(), logits], minus_bound, training.epochs)
    posterior = torch.empty_like(target)
    with torch.no_grad():
        for batch in batches:
            posterior[batch.item] = encoder(batch).softmax(dim=1)
        confusion = logits.softmax(dim=2)
    return AmortisedFit(posterior.cpu().numpy(), confusion.cpu().numpy(), tuple(-loss for loss in losses))


def split(crowd: CrowdLabels, size: int, draws: torch.Generator, device: torch.device) -> list[ItemBatch]:
    """Split the crowd into batches of `size` items, at random if there are several batches."""
    order = np.arange(crowd.n_items)
    if crowd.n_items > size:
        order = torch.randperm(crowd.n_items, generator=draws).numpy()
    result: list[ItemBatch] = []
    for first in range(0, crowd.n_items, size):
        item = order[first : first + size]
        given = crowd.indicator[item]
        received = sp.csr_array(given.T)
        result.append(ItemBatch(torch.from_numpy(item).to(device), _sparse(given, device), _sparse(received, device)))
    return result


def log_floored(probability: Array) -> Array:
    """Return the logarithm of the probabilities, or of FLOOR where a probability is smaller."""
    return np.log(np.maximum(probability, FLOOR))


class _Product(torch.autograd.Function):
    """Sparse times dense.  The gradient is the product with the transpose in the batch."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, received: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(received)
        return given @ table

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        (received,) = ctx.saved_tensors
        return None, None, received @ gradients[0].contiguous()


def _sparse(matrix: sp.csr_array, device: torch.device) -> Tensor:
    start, column, value = (torch.from_numpy(part).to(device) for part in (matrix.indptr, matrix.indices, matrix.data))
    return sparse_tensor(start, column, value, matrix.shape)
