"""BiLA: Dawid-Skene by amortised variational inference, in mini-batches.

C. Hong, A. Ghiassi, Y. Zhou, R. Birke, L. Y. Chen, "Online Label Aggregation: A Variational Bayesian Approach", WWW
2021 (arXiv 1807.07291), with one confusion matrix per worker.  A small network computes q(class | annotations).  The
network and the matrices are trained together on the evidence lower bound.  Then the labels follow from the matrices by
Bayes' rule, as in the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from crowdml.aggregation.aggregator import Aggregation, checked, first_posterior
from crowdml.aggregation.amortised import AmortisedTraining, Encoder, ItemBatch, log_floored, train
from crowdml.aggregation.inference.confusion import estimate_confusion, infer_posterior
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.labels import CrowdLabels

START_SMOOTHING = 0.1
"""Added to each count of the first matrices.  The matrices are trained as logits, which must be finite."""


@dataclass(frozen=True)
class Bila(AmortisedTraining):
    """Amortised variational Dawid-Skene.

    Four differences from the authors' code: an answer is one of n_workers * n_classes categories, not a number; Adam
    replaces RMSProp with clipped gradients; the network first learns the vote shares; the divergence has its full
    weight, not 0.1.

    Args:
        learning_rate, pretraining_epochs, epochs, batch_size, kl_weight, smoothing, device: see AmortisedTraining.
        hidden: widths of the two hidden layers, with tanh as in the authors' code.  The first weights are random, so
            the result depends on `seed`, and on the order of workers and classes.
    """

    hidden: tuple[int, int] = (64, 32)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.hidden) != 2 or min(self.hidden) < 1:
            raise ValueError(f"hidden must be two widths of at least 1, got {self.hidden}")

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Train the network and the matrices.

        Args:
            prior: (n_classes,) or (n_items, n_classes), normalised here.  None means the mean of the vote shares.

        Returns:
            The Aggregation; `objective` is the mean bound per item, for each epoch.
        """
        given_prior = check_prior(prior, crowd)
        shares = first_posterior(crowd, given_prior)
        class_prior = shares.mean(axis=0) if given_prior is None else given_prior
        draws = torch.Generator().manual_seed(self.seed)
        encoder = TanhNetwork(crowd, self.hidden, draws)
        decoder = np.log(estimate_confusion(crowd, shares, START_SMOOTHING))
        trained = train(self, crowd, encoder, draws, shares, log_floored(class_prior), decoder)
        posterior, _ = infer_posterior(crowd, trained.confusion, class_prior)
        return self.conclude(crowd, posterior, class_prior, confusion=trained.confusion, objective=trained.objective)


class TanhNetwork(Encoder):
    """Adds up one learnt vector per answer, and applies two hidden layers."""

    def __init__(self, crowd: CrowdLabels, hidden: tuple[int, int], draws: torch.Generator) -> None:
        super().__init__()
        widths = (*hidden, crowd.n_classes)
        # For any number of annotations per item, the inputs of tanh start with a variance near one.
        mean_labels = max(crowd.n_annotations / crowd.n_items, 1.0)
        self.table = _weights((crowd.n_workers * crowd.n_classes, widths[0]), mean_labels, draws)
        self.first_bias = nn.Parameter(torch.zeros(widths[0], dtype=torch.float64))
        self.second = _weights((widths[0], widths[1]), widths[0], draws)
        self.second_bias = nn.Parameter(torch.zeros(widths[1], dtype=torch.float64))
        self.third = _weights((widths[1], widths[2]), widths[1], draws)
        self.third_bias = nn.Parameter(torch.zeros(widths[2], dtype=torch.float64))

    def forward(self, batch: ItemBatch) -> Tensor:
        """See Encoder."""
        features = torch.tanh(batch.add_up(self.table) + self.first_bias)
        features = torch.tanh(features @ self.second + self.second_bias)
        return features @ self.third + self.third_bias


def _weights(shape: tuple[int, int], n_inputs: float, draws: torch.Generator) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=draws) / n_inputs**0.5)
