"""DivideMix: two networks part the items into labelled and unlabelled ones for each other, then learn from both."""

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
from crowdml.support.search_space import Choice, Real, Space, Whole


@dataclass(frozen=True)
class DivideMix(LabelLearner):
    """Semi-supervised learning on the items whose labels look right (Li, Socher, Hoi, ICLR 2020).

    After a warm-up with plain cross-entropy, a mixture of two normal distributions is fitted to each network's losses
    of all items before every epoch; an item's probability of the one with the smaller mean is how likely its label is
    right.  What one network finds parts the items for the other: labels of likely items are refined by the network's
    own prediction, the others are guessed by both networks, and all are mixed in pairs (MixMatch).

    Where this differs from the authors' program, which makes each step of 64 likely and 64 unlikely items and trains
    the networks in turns, an epoch each: a step here takes a batch as it comes, likely and unlikely items in the
    proportion that they have, and trains both networks.  The weight of unlikely items grows by the epoch and not by the
    step.  Their accuracy is that of the two networks together ("ensemble_test_accuracy").  Their recipe: SGD with
    learning rate 0.02 (a tenth of it from epoch 150 of 300), momentum 0.9 and weight decay 5e-4, crops and flips.

    Args:
        n_warm_up: epochs of cross-entropy; theirs is 10 for CIFAR-10 and 30 for CIFAR-100.
        threshold: an item is taken as labelled if the probability that its label is right is above this, in [0, 1).
        temperature: of sharpening refined and guessed labels, above 0; 1 leaves them.
        alpha: of the Beta(alpha, alpha) distribution that two items are mixed by, above 0.
        lambda_u: weight of the items taken as unlabelled; theirs is from 0 (little or asymmetric noise) to 150 (much
            noise, 100 classes).
        n_ramp: epochs over which that weight grows from nothing.
        confidence_penalty: subtract the entropy of the predictions from the loss of the warm-up, which theirs does for
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
        "threshold": Real(0.1, 0.9),
        "temperature": Real(0.1, 1),
        "alpha": Real(0.1, 10, log=True),
        "lambda_u": Real(0, 150),
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
        """Two networks with initial weights of their own."""
        return Divided(task.build_network, task.n_items)

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        """Let each network judge the labels of all items."""
        if epoch.number < self.n_warm_up:
            return
        assert isinstance(model, Divided)
        p = predict_members(model, task, task.inputs, epoch.items)
        losses = cross_entropies(p.clamp_min(torch.finfo(p.dtype).tiny).log(), given.target(self.target)[epoch.items])
        model.clean[:, epoch.items] = torch.stack([clean_probability(row) for row in losses])

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Cross-entropy in the warm-up and where the loss is only measured, else MixMatch; summed over the networks."""
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
        """The weight of unlabelled items in an epoch; a step's grows evenly, and this is its value half-way."""
        return self.lambda_u * min(1.0, max(0.0, (epoch + 0.5 - self.n_warm_up) / self.n_ramp))

    def targets(self, own: Tensor, other: Tensor, clean: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """(n, n_classes) what a network is to predict for the items, and (n,) bool which are taken as labelled.

        Args:
            own: (n, n_classes) its predictions, the mean over the views.
            other: (n, n_classes) the other network's.
            clean: (n_items,) the other's probability for each of all items that the label is right.
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
    """Two networks, and what each thinks of the labels of all items.

    Attributes:
        clean: (2, n_items) each network's probability that an item's label is right; 1 before it is judged.
    """

    clean: Tensor

    def __init__(self, build_network: Callable[[], nn.Module], n_items: int) -> None:
        super().__init__([build_network(), build_network()])
        self.register_buffer("clean", torch.ones(2, n_items))

    @torch.no_grad()
    def predictions(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Each network's probabilities (2, n, n_classes), the mean over two views (2 n, ...) of n items.

        The first are the networks' own as they train; the second are for each network those of the other, which is
        asked as one that does not train.
        """
        own = self._mean_over_views(inputs)
        self.eval()
        others = self._mean_over_views(inputs).flip(0)
        self.train()
        return own, others

    def _mean_over_views(self, inputs: Tensor) -> Tensor:
        return member_log_probabilities(self, inputs).exp().unflatten(1, (2, -1)).mean(dim=1)


def mix_match(network: nn.Module, inputs: Tensor, target: Tensor, labelled: Tensor, *, alpha: float) -> Tensor:
    """(3,) the terms of one network's loss on items mixed in pairs.

    Cross-entropy of the labelled items, squared error of the others' probabilities (mean over items and classes), and
    the divergence KL(uniform || mean prediction), which keeps the network from calling everything one class.  A mixed
    item counts as what the greater part of it is.

    Args:
        network: in training.
        inputs: (n, ...) the items, with every view an item of its own.
        target: (n, n_classes) distributions.
        labelled: (n,) bool.
        alpha: of the Beta(alpha, alpha) distribution of the mixing share, one for all pairs.
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
    """(n,) the probability that each item belongs to the normal distribution of small losses, of a mixture of two.

    Args:
        losses: (n,) finite.
    """
    values = losses.double().cpu().numpy()
    values = (values - values.min()) / max(np.ptp(values), np.finfo(values.dtype).tiny)
    # The seed comes from torch, whose state the training loop sets; ten rounds are the paper's, converged or not.
    seed = int(torch.randint(2**31 - 1, ()))
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(values[:, None])
    assert mixture.means_ is not None
    right = mixture.predict_proba(values[:, None])[:, mixture.means_.argmin()]
    return torch.as_tensor(right, dtype=losses.dtype, device=losses.device)


def sharpen(p: Tensor, temperature: float) -> Tensor:
    """(..., n_classes) distributions proportional to p^(1 / temperature)."""
    # Scaled to a largest entry of one before it is raised, so that many classes and a small temperature leave no zero.
    powers = (p / p.amax(dim=-1, keepdim=True)).pow(1 / temperature)
    return powers / powers.sum(dim=-1, keepdim=True)
