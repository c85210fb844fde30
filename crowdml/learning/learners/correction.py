"""Forward and backward correction of the loss by a transition matrix, which a first training can estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch, Epoch
from crowdml.learning.learner import LabelLearner, Learner, LossTerms
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.noise_layer import WithTransition, full_precision, noisy_cross_entropy
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.trainer import StagedLearner, TrainingRun
from crowdml.support.search_space import Real, Space

# Probabilities are cut off here by the backward correction, whose loss has no lower bound.
_LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class Correction(LabelLearner, StagedLearner):
    """Patrini et al., "Making deep neural networks robust to label noise: a loss correction approach" (CVPR 2017).

    Unless the matrix is given, a first network is trained with plain cross-entropy, the matrix is read off what it
    predicts for the anchors, and a fresh network is trained with the corrected loss.

    Args:
        transition: (n_classes, n_classes) P(label | true class) as rows, where it is known.
        percentile: the anchor of a class is the training item at this percentile of its predicted probability, in
            (0, 100].  Theirs is 97, the top being taken for outliers, and 100 where a class has fewer than 3 % of the
            items.
    """

    transition: Sequence[Sequence[float]] | None = None
    percentile: float = 97.0

    SPACE: ClassVar[Space] = {**LabelLearner.SPACE, "percentile": Real(80, 100)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.percentile <= 100:
            raise ValueError(f"percentile must be in (0, 100], got {self.percentile}")
        if self.transition is not None:
            object.__setattr__(self, "transition", tuple(tuple(map(float, row)) for row in self.transition))
            _check_stochastic(self.transition)

    def learn(self, run: TrainingRun) -> nn.Module:
        """Estimate the matrix, if it is not given, then train with the corrected loss; see Learner.

        Raises:
            ValueError: the matrix does not fit the task, or cannot be inverted where that is needed.
        """
        task = run.task
        if self.transition is None:
            first = run.train(CrossEntropy(self.target), evaluate=False)
            transition = anchor_transition(run.predict(first), self.percentile)
        else:
            transition = torch.tensor(self.transition, device=task.device)
            if len(transition) != task.n_classes:
                raise ValueError(f"transition is of {len(transition)} classes, the task has {task.n_classes}")
        self.check(transition)
        return run.train(_WithKnownTransition(self, transition), model=run.model)

    def check(self, transition: Tensor) -> None:
        """Raise ValueError where the matrix cannot be used."""


@dataclass(frozen=True)
class ForwardCorrection(Correction):
    """The forward form: cross-entropy of the label after the matrix (theorem 2)."""

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Mean of -log sum_c f_c T[c, label]."""
        assert isinstance(model, WithTransition)
        log_class = log_probabilities(model(batch.inputs))
        return {"forward": noisy_cross_entropy(log_class, model.transition, batch.target(self.target))}


@dataclass(frozen=True)
class BackwardCorrection(Correction):
    """The backward form: the mixture of the classes' losses that is unbiased under the noise (theorem 1)."""

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Mean of the corrected cross-entropy, which can be negative."""
        assert isinstance(model, WithTransition)
        log_class = log_probabilities(model(batch.inputs))
        return {"backward": backward_cross_entropy(log_class, model.transition, batch.target(self.target))}

    def check(self, transition: Tensor) -> None:
        """Raise ValueError where the matrix has no inverse."""
        if int(torch.linalg.matrix_rank(transition)) < len(transition):
            raise ValueError("the transition matrix has no inverse, which backward correction needs; take forward")


def backward_cross_entropy(log_class: Tensor, transition: Tensor, target: Tensor) -> Tensor:
    """Mean of -sum_c inverse(T)[l, c] log f_c over the items, scalar; expected under a target distribution.

    Args:
        log_class: (n, n_classes) log f.
        transition: (n_classes, n_classes) T[c, l] = P(label l | true class c), invertible.
        target: (n,) int64 labels or (n, n_classes) distributions of the label.
    """
    with full_precision(log_class):
        inverse, _ = torch.linalg.inv_ex(transition)  # the one that checks would wait for the GPU
        weight = inverse[target] if target.ndim == 1 else target.to(inverse.dtype) @ inverse
    return -(weight * log_class.clamp_min(math.log(_LEAST_PROBABILITY))).sum(dim=1).mean()


def anchor_transition(predicted: Tensor, percentile: float) -> Tensor:
    """(n_classes, n_classes) row c is what is predicted for the anchor of class c (Patrini et al., equations 12, 13).

    Args:
        predicted: (n_items, n_classes) P(label | inputs), of a network trained on noisy labels.
        percentile: see Correction.
    """
    rank = math.floor(percentile / 100 * (len(predicted) - 1))
    return predicted[predicted.argsort(dim=0, stable=True)[rank]]


@dataclass(frozen=True)
class _WithKnownTransition(Learner):
    """The training that follows when the matrix is known."""

    correction: Correction
    # Not in the repr, by which a checkpoint is known: an estimate may differ in its last digits when it is made again.
    transition: Tensor = field(repr=False, compare=False)

    def build(self, task: Task, given: Supervision) -> nn.Module:
        return WithTransition(task.build_network(), self.transition)

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        # A model that goes on from an earlier training has the matrix of earlier labels.
        assert isinstance(model, WithTransition)
        model.transition.copy_(self.transition)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        return self.correction.loss(model, batch)


def _check_stochastic(transition: Sequence[Sequence[float]]) -> None:
    if any(len(row) != len(transition) for row in transition):
        raise ValueError(f"transition must be square, got rows of lengths {[len(row) for row in transition]}")
    for number, row in enumerate(transition):
        if not (min(row) >= 0 and math.isclose(sum(row), 1, abs_tol=1e-4)):
            raise ValueError(f"transition: row {number} must hold probabilities that sum to 1, got {list(row)}")
