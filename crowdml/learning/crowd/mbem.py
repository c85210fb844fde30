"""MBEM, model-bootstrapped EM: estimate the workers' matrices from the predictions of a network."""

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
from crowdml.learning.wrapped_network import WrappedNetwork
from crowdml.support.search_space import Choice, Float, Space, Whole


@dataclass(frozen=True)
class Mbem(CrowdLearner, StagedLearner):
    """Train on the vote shares, and then in each round on posteriors that are inferred with the network's predictions.

    Khetan, Lipton and Anandkumar, ICLR 2018, Algorithm 1.  A round counts each worker's labels against the predicted
    classes.  The counts give the workers' matrices and the class prior, and these give a posterior per item.  Then a
    fresh network is trained on the posteriors.  The authors' code also trains every network again on its own
    predictions; the paper and this class do not.

    Args:
        rounds: number of rounds, at least 1; the authors find that one is enough.
        hard: count by the most probable class, as the authors do, instead of by the predicted distribution.
        smoothing: value above 0 that is added to every count; a row without counts becomes uniform.  The authors take
            1e-10, which only avoids zeros.
    """

    rounds: int = 1
    hard: bool = True
    smoothing: float = 1e-10

    SPACE: ClassVar[Space] = {
        "rounds": Whole(1, 3),
        "hard": Choice(False, True),
        "smoothing": Float(1e-10, 1, log=True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")
        if not self.smoothing > 0:
            raise ValueError(f"smoothing must be above 0, got {self.smoothing}")

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean cross-entropy on the posterior."""
        log_f = log_probabilities(model(batch.inputs))
        return {"cross_entropy": functional.cross_entropy(log_f, batch.target("posterior"))}

    def learn(self, run: TrainingRun) -> nn.Module:
        """Train `rounds + 1` networks, and return the last one with the matrices that its predictions give."""
        given, chosen = run.given, run.indices
        start = run.model.network if isinstance(run.model, NetworkWithMatrices) else run.model
        # The networks train on one distribution per item, not on the annotations.
        target = replace(given, annotations=None)
        network = run.train(self, model=start, given=target)
        for _ in range(self.rounds):
            confusion, prior = self.estimate(given, chosen, run.predict(network))
            posterior = given.posterior.index_copy(0, chosen, posterior_of(given, chosen, confusion, prior))
            improved = replace(target, posterior=posterior, labels=posterior.argmax(dim=1))
            network = run.train(self, given=improved)
        confusion, _ = self.estimate(given, chosen, run.predict(network))
        return NetworkWithMatrices(network, confusion=confusion)

    def estimate(self, given: Supervision, items: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
        """Return the workers' matrices (n_workers, n_classes, n_classes) and the class prior (n_classes,).

        Args:
            given: supervision with the annotations.
            items: (n,) indices of the items whose annotations count.
            predicted: (n, n_classes) probabilities that a network predicts for these items.
        """
        of_class = predicted
        if self.hard:
            of_class = functional.one_hot(predicted.argmax(dim=1), predicted.shape[1]).to(predicted.dtype)
        confusion = count_confusion(given.crowd.of(items), of_class, given.crowd.n_workers, self.smoothing)
        return confusion, of_class.mean(dim=0)


def posterior_of(given: Supervision, items: Tensor, confusion: Tensor, prior: Tensor) -> Tensor:
    """Return the posterior of each item (n, n_classes); an item without annotations has the prior.

    Args:
        given: supervision with the annotations.
        items: (n,) indices of the items.
        confusion: (n_workers, n_classes, n_classes) the workers' matrices, indexed [worker, true, given].
        prior: (n_classes,) class prior.
    """
    log_prior = prior.clamp_min(torch.finfo(prior.dtype).tiny).log().repeat(len(items), 1)
    return add_evidence(log_prior, confusion.log(), given.crowd.of(items)).exp()


class NetworkWithMatrices(WrappedNetwork):
    """A trained network with the workers' matrices `confusion`, which are counted by its predictions."""
