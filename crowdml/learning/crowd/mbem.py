"""MBEM, model-bootstrapped EM: a network's own predictions tell how good the workers are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.batch import Batch
from crowdml.learning.crowd.crowd_learner import CrowdLearner
from crowdml.learning.crowd.evidence import add_evidence, count_confusion
from crowdml.learning.learner import LossTerms
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.trainer import StagedLearner, TrainingRun
from crowdml.support.search_space import Choice, Real, Space, Whole


@dataclass(frozen=True)
class Mbem(CrowdLearner, StagedLearner):
    """Trains on the vote shares, then on posteriors under the matrices that its predictions give, round after round.

    Khetan, Lipton and Anandkumar, ICLR 2018, Algorithm 1.  A round counts each worker's labels by the predicted class
    of the items, takes the posterior of each item under the counted matrices and class prior, and trains a fresh
    network on it.  The authors' code also trains every network anew on its own predictions, which their paper does not.

    Args:
        rounds: at least 1; the authors find that one is enough.
        hard: count by the most probable class, as the authors do, instead of by the predicted distribution.
        smoothing: added to every count, above 0; a row without any becomes uniform.  The authors' 1e-10 does no more
            than stand in for zeros.
    """

    rounds: int = 1
    hard: bool = True
    smoothing: float = 1e-10

    SPACE: ClassVar[Space] = {"rounds": Whole(1, 3), "hard": Choice(False, True), "smoothing": Real(1e-10, 1, log=True)}

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")
        if not self.smoothing > 0:
            raise ValueError(f"smoothing must be above 0, got {self.smoothing}")

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Cross-entropy against the posterior, which weighs the loss of each class."""
        log_f = log_probabilities(model(batch.inputs))
        return {"cross_entropy": functional.cross_entropy(log_f, batch.target("posterior"))}

    def learn(self, run: TrainingRun) -> nn.Module:
        """Train `rounds + 1` networks; the last is returned with the matrices that its own predictions give."""
        given, chosen = run.given, run.indices
        start = run.model.network if isinstance(run.model, NetworkWithMatrices) else run.model
        # What trains is one distribution an item, not the annotations.
        target = replace(given, annotations=None)
        network = run.train(self, model=start, given=target)
        for _ in range(self.rounds):
            confusion, prior = self.estimate(given, chosen, run.predict(network))
            posterior = given.posterior.index_copy(0, chosen, posterior_of(given, chosen, confusion, prior))
            improved = replace(target, posterior=posterior, labels=posterior.argmax(dim=1))
            network = run.train(self, given=improved)
        confusion, _ = self.estimate(given, chosen, run.predict(network))
        return NetworkWithMatrices(network, confusion)

    def confusion(self, model: nn.Module) -> Tensor:
        """See CrowdLearner."""
        assert isinstance(model, NetworkWithMatrices)
        return model.confusion

    def estimate(self, given: Supervision, items: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
        """The workers' matrices (n_workers, n_classes, n_classes) and the class prior (n_classes,), from predictions.

        Args:
            given: holds the annotations.
            items: (n,) the items whose annotations count.
            predicted: (n, n_classes) a network's probabilities for them.
        """
        of_class = predicted
        if self.hard:
            of_class = functional.one_hot(predicted.argmax(dim=1), predicted.shape[1]).to(predicted.dtype)
        confusion = count_confusion(given.crowd.of(items), of_class, given.crowd.n_workers, self.smoothing)
        return confusion, of_class.mean(dim=0)


def posterior_of(given: Supervision, items: Tensor, confusion: Tensor, prior: Tensor) -> Tensor:
    """(n, n_classes) the posterior of each item under matrices and a class prior; without annotations it is the prior.

    Args:
        given: holds the annotations.
        items: (n,).
        confusion: (n_workers, n_classes, n_classes) [w, true, given].
        prior: (n_classes,).
    """
    log_prior = prior.clamp_min(torch.finfo(prior.dtype).tiny).log().repeat(len(items), 1)
    return add_evidence(log_prior, confusion.log(), given.crowd.of(items)).exp()


class NetworkWithMatrices(nn.Module):
    """A trained network, and the workers' matrices that were counted with it.

    Args:
        network: inputs -> logits (n, n_classes) of the true class.
        confusion: (n_workers, n_classes, n_classes).
    """

    confusion: Tensor

    def __init__(self, network: nn.Module, confusion: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("confusion", confusion)

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, n_classes) logits of the true class."""
        return self.network(inputs)
