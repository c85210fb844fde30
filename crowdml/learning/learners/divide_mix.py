"""DivideMix: two networks divide each other's items into labelled and unlabelled items, and learn from both kinds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from crowdml.learning.batch import Batch, Epoch
from crowdml.learning.evaluate import SeveralNetworks, predict_members
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.learners.several_networks import cross_entropies, member_log_probabilities
from crowdml.learning.learners.small_loss import mean_over
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.targets import distribution
from crowdml.learning.task import Task
from crowdml.support.search_space import Choice, Float, Space, Whole


@dataclass(frozen=True)
class DivideMix(LabelLearner):
    """Semi-supervised learning in which items with doubtful labels count as unlabelled (Li, Socher, Hoi, ICLR 2020).

    Training starts with a warm-up by plain cross-entropy.  Afterwards, before every epoch, a mixture of two normal
    distributions is fitted to each network's losses of all items.  The probability that an item belongs to the
    component with the smaller mean is the probability that its label is correct.  The probabilities of one network
    divide the items for the other network.  Labels of labelled items are refined by the network's own prediction.
    Labels of unlabelled items are guessed by both networks.  Then all items are mixed in pairs (MixMatch).

    In the authors' program, each step has 64 labelled and 64 unlabelled items, the networks train alternately for one
    epoch, and the weight of unlabelled items grows with each step.  Here, each step trains both networks on a random
    batch with labelled and unlabelled items in their natural proportion, and the weight grows with each epoch.  The
    authors report the accuracy of both networks together, here "ensemble_test_accuracy".

    Recipe of the authors: SGD with learning rate 0.02 (0.002 from epoch 150 of 300), momentum 0.9, weight decay 5e-4,
    crops and flips.

    Args:
        target: see LabelLearner.
        n_warm_up: epochs of cross-entropy at the start; the authors take 10 for CIFAR-10 and 30 for CIFAR-100.
        threshold: an item counts as labelled if the probability that its label is correct is above this, in [0, 1).
        temperature: temperature that sharpens refined and guessed labels, above 0; 1 does not sharpen.
        alpha: parameter of the Beta(alpha, alpha) distribution of the mixing share, above 0.
        lambda_u: weight of the unlabelled items; the authors take 0 (little or asymmetric noise) to 150 (much noise,
            100 classes).
        n_ramp: number of epochs in which the weight of the unlabelled items grows from 0.
        confidence_penalty: subtract the entropy of the predictions from the loss of the warm-up, as the authors do for
            asymmetric noise.
    """

    views: ClassVar[int] = 2
    one_process: ClassVar[bool] = True

    n_warm_up: int = 10
    threshold: float = 0.5
    temperature: float = 0.5
    alpha: float = 4.0
    lambda_u: float = 25.0
    n_ramp: int = 16
    confidence_penalty: bool = False

    SPACE: ClassVar[Space] = {
        **LabelLearner.SPACE,
        "n_warm_up": Whole(0, 30),
        "threshold": Float(0.1, 0.9),
        "temperature": Float(0.1, 1),
        "alpha": Float(0.1, 10, log=True),
        "lambda_u": Float(0, 150),
        "n_ramp": Whole(1, 32),
        "confidence_penalty": Choice(False, True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_warm_up < 0:
            raise ValueError(f"n_warm_up must not be negative, got {self.n_warm_up}")
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold must be in [0, 1), got {self.threshold}")
        for name in ("temperature", "alpha"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not self.lambda_u >= 0:
            raise ValueError(f"lambda_u must not be negative, got {self.lambda_u}")
        if self.n_ramp < 1:
            raise ValueError(f"n_ramp must be at least 1, got {self.n_ramp}")

    def build(self, task: Task, given: Supervision) -> Divided:
        """Return two networks, each with its own initial weights."""
        return Divided(task.build_network, task.n_items)

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        """After the warm-up, let each network estimate which labels are correct."""
        if epoch.number < self.n_warm_up:
            return
        assert isinstance(model, Divided)
        p = predict_members(model, task, task.inputs, epoch.items)
        losses = cross_entropies(p.clamp_min(torch.finfo(p.dtype).tiny).log(), given.target(self.target)[epoch.items])
        model.clean[:, epoch.items] = torch.stack([clean_probability(row) for row in losses])

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the terms, summed over the networks: MixMatch; cross-entropy in the warm-up and for held-out items."""
        assert isinstance(model, Divided)
        if not model.training or batch.epoch < self.n_warm_up:
            return self._cross_entropy(model, batch)
        inputs = torch.cat(batch.views)
        own, others = model.predictions(inputs)
        terms = []
        for number, network in enumerate(model.networks):
            target, labelled = self.targets(own[number], others[number], model.clean[1 - number], batch)
            terms.append(mix_match(network, inputs, target.repeat(2, 1), labelled.repeat(2), alpha=self.alpha))
        labelled, unlabelled, balance = torch.stack(terms).sum(dim=0)
        return {"labelled": labelled, "unlabelled": self.weight(batch.epoch) * unlabelled, "balance": balance}

    def weight(self, epoch: int) -> float:
        """Return the weight of unlabelled items: the value of the authors' linear ramp in the middle of the epoch."""
        return self.lambda_u * min(1.0, max(0.0, (epoch + 0.5 - self.n_warm_up) / self.n_ramp))

    def targets(self, own: Tensor, other: Tensor, clean: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the target distributions (n, n_classes) of a network, and (n,) bool: the items that count as labelled.

        Args:
            own: (n, n_classes) predictions of the network, averaged over the views.
            other: (n, n_classes) predictions of the other network, averaged over the views.
            clean: (n_items,) the other network's probability that the label of each training item is correct.
            batch: the items.
        """
        right = clean[batch.items, None]
        given = distribution(batch.target(self.target), own.shape[1])
        refined = right * given + (1 - right) * own
        labelled = right > self.threshold
        return sharpen(torch.where(labelled, refined, (own + other) / 2), self.temperature), labelled.squeeze(1)

    def _cross_entropy(self, model: Divided, batch: Batch) -> LossTerms:
        log_p = member_log_probabilities(model, batch.inputs)
        terms = {"cross_entropy": cross_entropies(log_p, batch.target(self.target)).mean(dim=1).sum()}
        if self.confidence_penalty and model.training:
            terms["negative_entropy"] = (log_p.exp() * log_p).sum(dim=2).mean(dim=1).sum()
        return terms


class Divided(SeveralNetworks):
    """Two networks, and for each network the probability that the label of each item is correct.

    Attributes:
        clean: (2, n_items) these probabilities; 1 before the first estimate.
    """

    clean: Tensor

    def __init__(self, build_network: Callable[[], nn.Module], n_items: int) -> None:
        super().__init__([build_network(), build_network()])
        self.register_buffer("clean", torch.ones(2, n_items))

    @torch.no_grad()
    def predictions(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each network its own predictions and the other network's predictions, both (2, n, n_classes).

        `inputs` (2 n, ...) holds the first views of n items, then the second views; predictions are averaged over the
        views.  A network makes its own predictions in training mode, and predictions for the other network in
        evaluation mode.
        """
        own = self._mean_over_views(inputs)
        self.eval()
        others = self._mean_over_views(inputs).flip(0)
        self.train()
        return own, others

    def _mean_over_views(self, inputs: Tensor) -> Tensor:
        return member_log_probabilities(self, inputs).exp().unflatten(1, (2, -1)).mean(dim=1)


def mix_match(network: nn.Module, inputs: Tensor, target: Tensor, labelled: Tensor, *, alpha: float) -> Tensor:
    """Return the three loss terms of one network on items mixed in pairs, (3,).

    The terms are the cross-entropy of the labelled items, the squared error of the probabilities of the unlabelled
    items (mean over items and classes), and KL(uniform || mean prediction), which keeps the network from predicting one
    class for all items.  A mixed item counts as labelled if the item with the larger share is labelled.

    Args:
        network: the network, in training mode.
        inputs: (n, ...) inputs; every view counts as one item.
        target: (n, n_classes) target distributions.
        labelled: (n,) bool, whether an item counts as labelled.
        alpha: parameter of the Beta(alpha, alpha) distribution of the mixing share; all pairs have the same share.
    """
    parameter = torch.full((), alpha, dtype=torch.float32, device=inputs.device)
    drawn = torch.distributions.Beta(parameter, parameter, validate_args=False).sample()
    share = torch.maximum(drawn, 1 - drawn)
    order = torch.randperm(len(inputs), device=inputs.device)
    mixed = share * target + (1 - share) * target[order]
    log_p = log_probabilities(network(share * inputs + (1 - share) * inputs[order]))
    cross_entropy = -(mixed * log_p).sum(dim=1)
    square = (log_p.exp() - mixed).square().mean(dim=1)
    log_mean = log_p.logsumexp(dim=0) - math.log(len(log_p))
    balance = -math.log(log_p.shape[1]) - log_mean.mean()
    return torch.stack([mean_over(cross_entropy, labelled), mean_over(square, ~labelled), balance])


def clean_probability(losses: Tensor) -> Tensor:
    """Return (n,): the probability that each loss (n,) belongs to the lower component of a mixture of two normals."""
    values = losses.double().cpu().numpy()
    values = (values - values.min()) / max(np.ptp(values), np.finfo(values.dtype).tiny)
    # The seed is drawn by torch, which the training loop seeds.  The paper stops after ten iterations in every case.
    seed = int(torch.randint(2**31 - 1, ()))
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(values[:, None])
    assert mixture.means_ is not None
    right = mixture.predict_proba(values[:, None])[:, mixture.means_.argmin()]
    return torch.as_tensor(right, dtype=losses.dtype, device=losses.device)


def sharpen(p: Tensor, temperature: float) -> Tensor:
    """Return distributions (..., n_classes) proportional to p^(1 / temperature)."""
    # Scale the largest entry to one first, so that the powers of small probabilities do not all become zero.
    powers = (p / p.amax(dim=-1, keepdim=True)).pow(1 / temperature)
    return powers / powers.sum(dim=-1, keepdim=True)
