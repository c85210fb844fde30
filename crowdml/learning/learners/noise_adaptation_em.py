"""The s-model trained by EM: every M-step trains the network (Bekker, Goldberger, ICASSP 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from crowdml.learning.learner import LabelLearner
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.noise_adaptation import FLOOR, count_confusion
from crowdml.learning.supervision import supervise
from crowdml.learning.targets import distribution
from crowdml.learning.trainer import StagedLearner, TrainingRun
from crowdml.support.search_space import Choice, Space, Whole


@dataclass(frozen=True)
class SModelEm(LabelLearner, StagedLearner):
    """EM for P(label j | x) = sum_i f_i(x) theta_ij, with the true classes as hidden variables.

    A baseline is trained on the labels and gives the first theta, as in the s-model.  Then two steps alternate.  The
    E-step infers the distribution c of each true class from f and theta.  The M-step counts theta and trains the
    network on c by plain cross-entropy.  Each training follows the recipe, so there are up to `max_iter` + 1 trainings.

    Args:
        target: see LabelLearner; each class of a posterior counts as a label with that weight.
        pretrain_soft: see SModel.
        max_iter: largest number of M-steps.
        tolerance: stop when no entry of theta changes by more than this.
        reinit: train a fresh network in every M-step instead of continuing with the last one.
    """

    pretrain_soft: bool = False
    max_iter: int = 5
    tolerance: float = 1e-3
    reinit: bool = False

    SPACE: ClassVar[Space] = {
        **LabelLearner.SPACE,
        "pretrain_soft": Choice(False, True),
        "max_iter": Whole(1, 10),
        "reinit": Choice(False, True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")
        if not self.tolerance >= 0:
            raise ValueError(f"tolerance must not be negative, got {self.tolerance}")

    def learn(self, run: TrainingRun) -> nn.Module:
        """Carry out EM, and return the network of the true class.  A model of an earlier run replaces the baseline."""
        task, given, chosen = run.task, run.given, run.indices
        labels = distribution(given.target(self.target), task.n_classes)
        model = run.train(CrossEntropy(self.target)) if run.model is None else run.model
        predicted = run.trainer.predict(model)
        transition = count_confusion(predicted[chosen], labels[chosen], soft=self.pretrain_soft)
        for _ in range(self.max_iter):
            classes, updated = em_step(predicted, transition, labels, chosen)
            inferred = supervise(classes, task.n_classes, labels=given.labels, device=task.device)
            start = None if self.reinit else model
            model = run.train(CrossEntropy("posterior"), model=start, given=inferred)
            if float((updated - transition).abs().max()) <= self.tolerance:
                break
            transition, predicted = updated, run.trainer.predict(model)
        return model


def em_step(
    predicted: Tensor, transition: Tensor, labels: Tensor, items: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return c (n_items, n_classes) of the E-step, and the new theta (n_classes, n_classes) of the M-step.

    For every label j of item t, c_tij is the weight of the label times the posterior of class i, which is proportional
    to f_i(x_t) theta_ij.  c_ti is the sum of c_tij over j.  The new theta_ij is proportional to sum_t c_tij; its rows
    sum to one.

    Args:
        predicted: (n_items, n_classes) predictions f.
        transition: (n_classes, n_classes) theta, [true, label].
        labels: (n_items, n_classes) labels as distributions.
        items: (n,) indices of the items from which theta is counted; by default all.
    """
    f = predicted.double()
    theta = (transition.double() + FLOOR) / (1 + FLOOR * len(transition))
    odds = labels / (f @ theta)
    classes = f * (odds @ theta.T)
    f, odds = (f, odds) if items is None else (f[items], odds[items])
    counts = theta * (f.T @ odds)
    # A class without items keeps its row.
    counts = torch.where(counts.sum(dim=1, keepdim=True) > 0, counts, theta)
    return classes.float(), (counts / counts.sum(dim=1, keepdim=True)).float()
