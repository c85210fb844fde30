"""GeoCrowdNet: coupled cross-entropy with a volume regulariser that makes network and matrices identifiable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.crowd.ccem import Ccem
from crowdml.learning.crowd.crowd_learner import annotation_nll
from crowdml.learning.crowd.matrices import WorkerMatrices, log_confusion
from crowdml.learning.learner import LossTerms
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.trainer import StagedLearner, TrainingRun
from crowdml.support.search_space import Choice, Real, Space

Volume = Literal["F", "W"]

# A larger -log det is left out, as in the authors' code: near collapse its gradient would drown everything else.
_LARGEST = 100.0


@dataclass(frozen=True)
class GeoCrowdNet(Ccem, StagedLearner):
    """CCEM minus `weight` times a log determinant (Ibrahim, Nguyen and Fu, ICLR 2023, Eq. 8 and 9).

    "F" takes log det(F F^T) of the batch's predictions F (n_classes, n), which spreads them over the simplex; "W" takes
    log det(W^T W) of the workers' matrices stacked into W (n_workers * n_classes, n_classes).

    As in the authors' code a batch whose -log det is not finite or above 100 counts without the regulariser, and so
    does one with fewer items than classes, whose determinant is 0.  The curve "regulariser_left_out" has the share of
    such batches.  Determinants are taken in the log domain, where only singular matrices are not finite.  Data-parallel
    processes take F of their own share of the batch.

    From the "identity", whose diagonal is weak, a large `weight` of "F" scatters the predictions before the matrices
    tie them to classes, and some classes end up swapped (LabelMe, 0.1: two of three seeds); from the "votes" none do.

    Args:
        volume: "F" or "W".
        weight: lambda, at least 0; the authors choose it by validation from 0.1 and 0.2 (LabelMe), 1e-3 (MNIST) and
            1e-2 to 1e-4 (CIFAR-10).
    """

    volume: Volume = "F"
    weight: float = 1e-3

    SPACE: ClassVar[Space] = {**Ccem.SPACE, "volume": Choice(*get_args(Volume)), "weight": Real(1e-5, 1, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.volume not in get_args(Volume):
            raise ValueError(f'volume must be "F" or "W", got {self.volume!r}')
        if not self.weight >= 0:
            raise ValueError(f"weight must be at least 0, got {self.weight}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """The network, the workers' matrices, and the counts of batches."""
        model = super().build(task, given)
        # [left out, all]; they are kept with the model so that a training that is resumed goes on counting.
        model.register_buffer("batches", torch.zeros(2, dtype=torch.int64))
        return model

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """The coupled cross-entropy of the batch's annotations, and the regulariser."""
        log_f, log_a = log_probabilities(model(batch.inputs)), log_confusion(model)
        gram = gram_of_predictions(log_f) if self.volume == "F" else gram_of_matrices(log_a)
        volume, usable = negative_log_det(gram, possible=self.volume == "W" or len(log_f) >= log_f.shape[1])
        if model.training:
            assert isinstance(model.batches, Tensor)
            model.batches += torch.stack([~usable, torch.ones_like(usable)])
        return {
            "cross_entropy": annotation_nll(log_f, log_a, batch.given, batch.items),
            "volume": self.weight * volume,
        }

    def learn(self, run: TrainingRun) -> nn.Module:
        """Train, and report how often the regulariser was left out."""
        trained = run.train(self, model=run.model)
        assert isinstance(trained, WorkerMatrices)
        assert isinstance(trained.batches, Tensor)
        left_out, every = trained.batches.tolist()
        run.task.observers.report(run.trainer.n_epochs, "regulariser_left_out", left_out / every)
        return trained


def gram_of_predictions(log_f: Tensor) -> Tensor:
    """(n_classes, n_classes) F F^T from log probabilities (n, n_classes)."""
    with torch.autocast(log_f.device.type, enabled=False):
        f = log_f.exp()
        return f.T @ f


def gram_of_matrices(log_a: Tensor) -> Tensor:
    """(n_classes, n_classes) W^T W from log confusion matrices (n_workers, n_classes, n_classes), [w, true, given]."""
    with torch.autocast(log_a.device.type, enabled=False):
        w = log_a.exp().transpose(1, 2).flatten(0, 1)
        return w.T @ w


def negative_log_det(gram: Tensor, *, possible: bool = True) -> tuple[Tensor, Tensor]:
    """-log det of a matrix, or 0 without gradient where that is not finite or above 100; and whether it is used.

    Args:
        gram: (n_classes, n_classes) symmetric, no negative eigenvalues.
        possible: False where the determinant is known to be 0.
    """
    sign, log_det = torch.linalg.slogdet(gram.detach())
    usable = (sign > 0) & torch.isfinite(log_det) & (-log_det <= _LARGEST) & possible
    # The gradient at a singular matrix is not finite; at the identity, whose -log det is 0, it is harmless.
    safe = torch.where(usable, gram, torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    return -torch.linalg.slogdet(safe).logabsdet, usable
