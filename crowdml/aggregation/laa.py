"""LAA: the label-aware autoencoder.  It encodes an item's annotations linearly, and decodes each worker's labels.

L. Yin, J. Han, W. Zhang, Y. Yu, "Aggregating Crowd Wisdoms with Label-aware Autoencoders", IJCAI 2017, model LAA-B. The
encoder q_i = softmax(b + the sum of W[w, l] over the annotations of i) is a weighted vote, in which each label of a
worker has a vector of weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from crowdml.aggregation.aggregator import Aggregation, check_least, checked, first_posterior
from crowdml.aggregation.amortised import AmortisedTraining, Encoder, ItemBatch, log_floored, train
from crowdml.aggregation.inference.prior_and_gold import check_prior, keep_gold
from crowdml.labels import CrowdLabels
from crowdml.support.search_space import Float, Space


@dataclass(frozen=True)
class Laa(AmortisedTraining):
    """The label-aware autoencoder LAA-B.

    All weights start from zero, not from small random numbers.  The encoder is pretrained on a problem with one
    optimum, so random numbers would add nothing.  With zeros, the result does not depend on the order of workers, items
    and classes.  Only a crowd of more than `batch_size` items is split at random, by `seed`.

    Args:
        learning_rate, pretraining_epochs, epochs, batch_size, kl_weight, smoothing, device: see AmortisedTraining.  The
            authors weight the divergence by 0.0001, which lets the posterior drift away from unbalanced classes (an
            error above 70 % on product, against 10 % with 0.1).
        encoder_penalty: weight of the mean absolute encoder weight; 0.005 in the paper.
    """

    epochs: int = 200
    kl_weight: float = 0.1
    smoothing: float = 0.0
    encoder_penalty: float = 0.005

    SPACE: ClassVar[Space] = {**AmortisedTraining.SPACE, "encoder_penalty": Float(1e-4, 0.1, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 0, "encoder_penalty")

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Train the autoencoder.

        Args:
            prior: (n_classes,) or (n_items, n_classes), normalised here.  None means the vote shares, as in the paper.

        Returns:
            The Aggregation: the encoder's posterior, or the prior for an item without annotations.  `objective` is
            minus the loss of each epoch.
        """
        given_prior = check_prior(prior, crowd)
        shares = first_posterior(crowd, given_prior)
        item_prior = shares if given_prior is None else np.broadcast_to(given_prior, shares.shape)
        encoder, draws = WeightedVote(crowd, self.encoder_penalty), torch.Generator().manual_seed(self.seed)
        decoder = np.zeros((crowd.n_workers, crowd.n_classes, crowd.n_classes))
        trained = train(self, crowd, encoder, draws, shares, log_floored(item_prior), decoder)
        labelled = crowd.labels_per_item[:, None] > 0
        posterior = keep_gold(crowd, np.where(labelled, trained.posterior, item_prior))
        return self.conclude(crowd, posterior, given_prior, confusion=trained.confusion, objective=trained.objective)


class WeightedVote(Encoder):
    """A linear encoder of a crowd's annotations.  `penalty` multiplies the mean absolute weight."""

    def __init__(self, crowd: CrowdLabels, penalty: float) -> None:
        super().__init__()
        n_answers = crowd.n_workers * crowd.n_classes
        self.weight = nn.Parameter(torch.zeros(n_answers, crowd.n_classes, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(crowd.n_classes, dtype=torch.float64))
        self._penalty = penalty

    def forward(self, batch: ItemBatch) -> Tensor:
        """See Encoder."""
        return batch.add_up(self.weight) + self.bias

    def penalty(self) -> Tensor:
        """Return the authors' L1 penalty."""
        return self._penalty * self.weight.abs().mean()
