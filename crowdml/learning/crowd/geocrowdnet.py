"""GeoCrowdNet: CCEM with a volume regulariser that makes network and matrices identifiable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.crowd.ccem import Ccem
from crowdml.learning.crowd.crowd_learner import annotation_nll
from crowdml.learning.crowd.matrices import log_confusion
from crowdml.learning.learner import LossTerms
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.trainer import StagedLearner, TrainingRun
from crowdml.support.search_space import Choice, Float, Space

Volume = Literal["F", "W"]

# Largest -log det that is used, as in the authors' code.  For a nearly singular matrix its gradient would dominate.
_LARGEST = 100.0


@dataclass(frozen=True)
class GeoCrowdNet(Ccem, StagedLearner):
    """Minimise the loss of CCEM minus `weight` times a log determinant (Ibrahim, Nguyen and Fu, ICLR 2023, Eqs. 8, 9).

    The log determinant is log det(F F^T) of the batch's predictions F (n_classes, n), which spreads the predictions
    over the simplex, or log det(W^T W), where W (n_workers * n_classes, n_classes) stacks the workers' matrices.

    As in the authors' code, the regulariser is left out of a batch whose -log det is not finite or above 100.  It is
    also left out of a batch with fewer items than classes, whose determinant is 0.  The curve "regulariser_left_out" is
    the share of such batches.  Determinants are computed in the log domain, so -log det is finite unless the matrix is
    singular.  Under data parallelism, each process computes F from its share of the batch.

    Do not combine init="identity" and volume="F" with a large `weight`.  The predictions then spread before the
    matrices link them to classes, and some classes are swapped.  On LabelMe with weight 0.1, this happened for two of
    three seeds, and for no seed with init="votes".

    Args:
        init: see Ccem.
        volume: "F" or "W".
        weight: lambda of the paper, at least 0.  The authors choose it by validation: 0.1 or 0.2 (LabelMe), 1e-3
            (MNIST), 1e-2 to 1e-4 (CIFAR-10).
    """

    volume: Volume = "F"
    weight: float = 1e-3

    SPACE: ClassVar[Space] = {**Ccem.SPACE, "volume": Choice(*get_args(Volume)), "weight": Float(1e-5, 1, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.volume not in get_args(Volume):
            raise ValueError(f'volume must be "F" or "W", got {self.volume!r}')
        if not self.weight >= 0:
            raise ValueError(f"weight must be at least 0, got {self.weight}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the workers' matrices, and counters of the batches."""
        model = super().build(task, given)
        # [left out, all batches].  The model stores the counters, so that a resumed training continues to count.
        model.register_buffer("batches", torch.zeros(2, dtype=torch.int64))
        return model

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the coupled cross-entropy of the batch's annotations, and the regulariser."""
        log_f, log_a = log_probabilities(model(batch.inputs)), log_confusion(model)
        gram = gram_of_predictions(log_f) if self.volume == "F" else gram_of_matrices(log_a)
        volume, usable = negative_log_det(gram, possible=self.volume == "W" or len(log_f) >= log_f.shape[1])
        if model.training:
            assert isinstance(model.batches, Tensor)
            model.batches += torch.stack([~usable, torch.ones_like(usable)])
        return {"cross_entropy": annotation_nll(log_f, log_a, batch.given, batch.items), "volume": self.weight * volume}

    def learn(self, run: TrainingRun) -> nn.Module:
        """Train, report the share of batches without the regulariser, and return the trained model."""
        trained = run.train(self, model=run.model)
        assert isinstance(trained.batches, Tensor)
        left_out, every = trained.batches.tolist()
        run.task.observers.report(run.trainer.n_epochs, "regulariser_left_out", left_out / every)
        return trained


def gram_of_predictions(log_f: Tensor) -> Tensor:
    """Return F F^T (n_classes, n_classes) from log-probabilities (n, n_classes)."""
    with torch.autocast(log_f.device.type, enabled=False):
        f = log_f.exp()
        return f.T @ f


def gram_of_matrices(log_a: Tensor) -> Tensor:
    """Return W^T W (n_classes, n_classes) from the logarithms of the workers' matrices, [worker, true, given]."""
    with torch.autocast(log_a.device.type, enabled=False):
        w = log_a.exp().transpose(1, 2).flatten(0, 1)
        return w.T @ w


def negative_log_det(gram: Tensor, *, possible: bool = True) -> tuple[Tensor, Tensor]:
    """Return -log det of a matrix, and whether it is finite and at most 100; otherwise it is replaced by a constant 0.

    Args:
        gram: (n_classes, n_classes) symmetric matrix without negative eigenvalues.
        possible: False if the determinant is known to be 0.
    """
    sign, log_det = torch.linalg.slogdet(gram.detach())
    usable = (sign > 0) & torch.isfinite(log_det) & (-log_det <= _LARGEST) & possible
    # The gradient at a singular matrix is not finite.  The identity has -log det 0 and a finite gradient.
    safe = torch.where(usable, gram, torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    return -torch.linalg.slogdet(safe).logabsdet, usable
