"""JoCoR with any number of networks, and shared parts of the methods that train several networks together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.evaluate import SeveralNetworks
from crowdml.learning.learner import LossTerms
from crowdml.learning.learners.small_loss import SmallLossLearner, mean_over
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.support.search_space import Choice, Float, Space, Whole

Graph = Literal["full", "circular"]
Divergence = Literal["kl", "ce"]


@dataclass(frozen=True)
class JoCoR(SmallLossLearner):
    """Train networks that must agree, on the items of small joint loss (Wei, Feng, Chen, An, CVPR 2020).

    The joint loss of an item is (1 - lambda_) sum_k CE_k + lambda_ sum_(a,b) D(p_a, p_b) / (|E| / n), where the second
    sum runs over the edges E of a graph whose nodes are the n networks.  Two networks have the edges 1 -> 2 and
    2 -> 1, which gives the loss of the paper.  More networks, the circular graph and the cross-entropy as divergence
    come from Fazekas, Forian and Barta.  The division by |E| / n is our choice: it keeps the balance between agreement
    and the n cross-entropies for every n and graph.

    Args:
        target, forget_rate, n_gradual, exponent: see SmallLossLearner.
        n_networks: number of networks, at least 2.
        graph: "full" has an edge for every ordered pair of networks, "circular" the edges 1 -> 2 -> ... -> 1.
        divergence: "kl" is KL(p_a || p_b), "ce" the cross-entropy -p_a log p_b.  Both have gradients for both networks.
        lambda_: weight of the agreement, in [0, 1]; the labels have 1 - lambda_.  The paper takes 0.9 on CIFAR-10 (0.65
            with 80 % noise), 0.85 on CIFAR-100 and 0.95 on MNIST.  Take less with "ce", which also rewards certainty:
            on digits, three networks with 0.9 predict one class for all items, and with 0.3 to 0.7 they learn.
    """

    n_networks: int = 2
    graph: Graph = "full"
    divergence: Divergence = "kl"
    lambda_: float = 0.9

    SPACE: ClassVar[Space] = {
        **SmallLossLearner.SPACE,
        "n_networks": Whole(2, 4),
        "graph": Choice(*get_args(Graph)),
        "divergence": Choice(*get_args(Divergence)),
        "lambda_": Float(0, 1),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_networks < 2:
            raise ValueError(f"n_networks must be at least 2, got {self.n_networks}")
        if self.graph not in get_args(Graph):
            raise ValueError(f'graph must be "full" or "circular", got {self.graph!r}')
        if self.divergence not in get_args(Divergence):
            raise ValueError(f'divergence must be "kl" or "ce", got {self.divergence!r}')
        if not 0 <= self.lambda_ <= 1:
            raise ValueError(f"lambda_ must be in [0, 1], got {self.lambda_}")

    def build(self, task: Task, given: Supervision) -> SeveralNetworks:
        """Return the networks, each with its own initial weights."""
        return build_several(task, self.n_networks)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return both parts of the joint loss, averaged over the chosen items."""
        log_p = member_log_probabilities(model, batch.inputs)
        labels = (1 - self.lambda_) * cross_entropies(log_p, batch.target(self.target)).sum(dim=0)
        agreement = self.lambda_ * self.disagreement(log_p)
        chosen = self.trusted(labels + agreement, batch, training=model.training)
        return {"cross_entropy": mean_over(labels, chosen), "disagreement": mean_over(agreement, chosen)}

    def disagreement(self, log_p: Tensor) -> Tensor:
        """Return (n,): the sum of the divergences over the edges, divided by the number of edges per network."""
        shifts = graph_shifts(self.graph, self.n_networks)
        p, own = log_p.exp(), log_p if self.divergence == "kl" else torch.zeros_like(log_p)
        along_edges = [(p * (own - log_p.roll(-shift, dims=0))).sum(dim=(0, 2)) for shift in shifts]
        return torch.stack(along_edges).sum(dim=0) / len(shifts)


def graph_shifts(graph: Graph, n_networks: int) -> Sequence[int]:
    """Return the offsets s of the edges: for each s, every network a has the edge a -> a + s (modulo n_networks)."""
    return range(1, n_networks) if graph == "full" else (1,)


def build_several(task: Task, n_networks: int) -> SeveralNetworks:
    """Return several networks of the task, each with its own initial weights.

    The networks run in sequence, because a batched model is slower.  A training step of two networks on one CPU core
    takes 2.9 ms for mlp256 (128 MNIST images), 3.7 ms with torch.func.vmap, and 3.1 ms with one matrix product per
    layer.  For cnn8 (128 CIFAR-10 images) it takes 2.7 s, and 4.9 s with vmap.
    """
    return SeveralNetworks([task.build_network() for _ in range(n_networks)])


def member_log_probabilities(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the log-probabilities of each network of a SeveralNetworks, (n_networks, n, n_classes)."""
    assert isinstance(model, SeveralNetworks)
    return log_probabilities(model.member_logits(inputs))


def cross_entropies(log_p: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of each network and item, (n_networks, n), from (n_networks, n, n_classes) `log_p`.

    `target` holds labels (n,), or distributions (n, n_classes) for the expected loss.
    """
    if target.ndim == 2:
        return -(log_p * target).sum(dim=2)
    return -log_p.gather(2, target[None, :, None].expand(len(log_p), -1, 1)).squeeze(2)
