"""Forward and backward correction of the loss by a transition matrix that is given or estimated."""

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
from crowdml.support.search_space import Float, Space

# Smallest probability in the backward correction, whose loss has no lower bound.
_LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class Correction(LabelLearner, StagedLearner):
    """Correct the loss by the transition matrix of the label noise.

    Patrini et al., "Making deep neural networks robust to label noise: a loss correction approach" (CVPR 2017).

    If the matrix is not given, a first network is trained with plain cross-entropy.  Its predictions for one anchor
    item per class are the rows of the matrix.  Then a fresh network is trained with the corrected loss.

    Args:
        target: see LabelLearner.
        transition: (n_classes, n_classes) P(label | true class) as rows, if it is known.
        percentile: percentile in (0, 100] of the predicted probability of a class; the training item at this percentile
            is the anchor of the class.  The paper takes 97, because the top items may be outliers, and 100 if a class
            has fewer than 3 % of the items.
    """

    transition: Sequence[Sequence[float]] | None = None
    percentile: float = 97.0

    SPACE: ClassVar[Space] = {**LabelLearner.SPACE, "percentile": Float(80, 100)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.percentile <= 100:
            raise ValueError(f"percentile must be in (0, 100], got {self.percentile}")
        if self.transition is not None:
            object.__setattr__(self, "transition", tuple(tuple(map(float, row)) for row in self.transition))
            _check_stochastic(self.transition)

    def learn(self, run: TrainingRun) -> nn.Module:
        """Estimate the matrix if it is not given, train with the corrected loss, and return the trained model.

        Raises:
            ValueError: the matrix has another number of classes, or has no inverse and the method needs the inverse.
        """
        task = run.task
        if self.transition is None:
            first = run.train(CrossEntropy(self.target), evaluate=False)
            transition = anchor_transition(run.predict(first), self.percentile)
        else:
            transition = torch.tensor(self.transition, device=task.device)
            if len(transition) != task.n_classes:
                raise ValueError(f"transition has {len(transition)} classes, but the task has {task.n_classes}")
        self.check(transition)
        return run.train(_WithKnownTransition(self, transition), model=run.model)

    def check(self, transition: Tensor) -> None:
        """Raise ValueError if the method cannot use the matrix."""


@dataclass(frozen=True)
class ForwardCorrection(Correction):
    """Forward correction: cross-entropy of the label distribution that the matrix gives (theorem 2)."""

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean of -log sum_c f_c T[c, label]."""
        assert isinstance(model, WithTransition)
        log_class = log_probabilities(model(batch.inputs))
        return {"forward": noisy_cross_entropy(log_class, model.transition, batch.target(self.target))}


@dataclass(frozen=True)
class BackwardCorrection(Correction):
    """Backward correction: a weighted sum of the losses of all classes, unbiased under the noise (theorem 1)."""

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean of the corrected cross-entropy, which can be negative."""
        assert isinstance(model, WithTransition)
        log_class = log_probabilities(model(batch.inputs))
        return {"backward": backward_cross_entropy(log_class, model.transition, batch.target(self.target))}

    def check(self, transition: Tensor) -> None:
        """Raise ValueError if the matrix has no inverse."""
        if int(torch.linalg.matrix_rank(transition)) < len(transition):
            raise ValueError(
                "the transition matrix has no inverse, which backward correction needs; use forward correction"
            )


def backward_cross_entropy(log_class: Tensor, transition: Tensor, target: Tensor) -> Tensor:
    """Return the mean of -sum_c inverse(T)[l, c] log f_c over the items, or the expected loss for distributions.

    Args:
        log_class: (n, n_classes) log f.
        transition: (n_classes, n_classes) T[c, l] = P(label l | true class c), invertible.
        target: (n,) int64 labels or (n, n_classes) distributions of the label.
    """
    with full_precision(log_class):
        inverse, _ = torch.linalg.inv_ex(transition)  # inv would wait for the GPU to check the result
        weight = inverse[target] if target.ndim == 1 else target.to(inverse.dtype) @ inverse
    return -(weight * log_class.clamp_min(math.log(_LEAST_PROBABILITY))).sum(dim=1).mean()


def anchor_transition(predicted: Tensor, percentile: float) -> Tensor:
    """Return (n_classes, n_classes): row c is the prediction for the anchor of class c (Patrini et al., eqs. 12, 13).

    `predicted` (n_items, n_classes) is P(label | inputs) by a network that was trained on noisy labels.
    """
    rank = math.floor(percentile / 100 * (len(predicted) - 1))
    return predicted[predicted.argsort(dim=0, stable=True)[rank]]


@dataclass(frozen=True)
class _WithKnownTransition(Learner):
    """The training with the corrected loss, once the matrix is known."""

    correction: Correction
    # Not in the repr, which identifies a checkpoint: a repeated estimate may differ in the last digits.
    transition: Tensor = field(repr=False, compare=False)

    def build(self, task: Task, given: Supervision) -> nn.Module:
        return WithTransition(task.build_network(), self.transition)

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        # A model of an earlier training holds the matrix for its earlier labels.
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
