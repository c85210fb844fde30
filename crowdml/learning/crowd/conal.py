"""CoNAL: label noise is a mixture of common noise and individual noise of the worker (Chu, Ma, Wang, AAAI 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.batch import Batch
from crowdml.learning.crowd.crowd_learner import CrowdLearner
from crowdml.learning.learner import LossTerms
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.trainer import StagedLearner, TrainingRun
from crowdml.learning.wrapped_network import WrappedNetwork
from crowdml.support.search_space import Float, Space, Whole

_HIDDEN = 128


@dataclass(frozen=True)
class Conal(CrowdLearner, StagedLearner):
    """Mix a shared confusion matrix with the worker's own matrix; the weights depend on item and worker.

    The label of worker w has the distribution

        softmax(omega f A_g + (1 - omega) f A_w),    omega = sigmoid(u(x) . v(w)),

    where f are the network's probabilities, and A_g and A_w are free matrices that start as twice the identity.  u(x)
    and v(w) are unit vectors: u(x) comes from two linear layers on the flattened inputs with 128 hidden units, and v(w)
    is one vector per worker.  As in the authors' code, the mixture is used as logits.

    The loss is the mean negative log likelihood of the annotations minus `difference` times sum_w ||A_w - A_g||_2.
    The second term separates the two kinds of noise (Equation 8).

    Args:
        difference: lambda of the paper, at least 0; the paper takes 1e-5.
        embedding: length of u and v.  The authors' code takes 20 for LabelMe and 80 for Music; it does not normalise u,
            unlike the paper and this class.
    """

    difference: float = 1e-5
    embedding: int = 20

    SPACE: ClassVar[Space] = {"difference": Float(1e-7, 1e-2, log=True), "embedding": Whole(5, 100, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.difference >= 0:
            raise ValueError(f"difference must not be negative, got {self.difference}")
        if self.embedding < 1:
            raise ValueError(f"embedding must be at least 1, got {self.embedding}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the shared and the workers' matrices, and the layers of u and v."""
        n_inputs = math.prod(task.inputs.in_shape)
        return _CommonNoise(task.build_network(), n_inputs, given.crowd.n_workers, task.n_classes, self.embedding)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean negative log likelihood of the annotations, and the term that separates the matrices."""
        assert isinstance(model, _CommonNoise)
        part = batch.annotations
        classes = log_probabilities(model(batch.inputs)).exp()
        omega = model.omega(batch.inputs)[part.row, part.worker]
        logits = mix(classes[part.row], omega, model.common, model.own[part.worker])
        apart = torch.linalg.vector_norm(model.own - model.common, dim=(1, 2)).sum()
        nll = functional.cross_entropy(logits, part.label, reduction="sum") / max(len(part), 1)
        return {"annotations": nll, "difference": -self.difference * apart}

    def learn(self, run: TrainingRun) -> nn.Module:
        """Train, and then compute the mean omega per worker, which `confusion` needs."""
        model = run.train(self, model=run.model)
        assert isinstance(model, _CommonNoise)
        with torch.inference_mode():
            shares = torch.cat([model.omega(inputs) for inputs in run.batches()])
            model.mean_omega.copy_(shares.mean(dim=0))
        return model

    def confusion(self, model: nn.Module) -> Tensor:
        """Return P(label | true class) per worker for one-hot f and for the mean omega over the items."""
        assert isinstance(model, _CommonNoise)
        omega = model.mean_omega[:, None, None]
        return (omega * model.common + (1 - omega) * model.own).softmax(dim=2)


def mix(classes: Tensor, omega: Tensor, common: Tensor, own: Tensor) -> Tensor:
    """Return omega f A_g + (1 - omega) f A_w, (n, n_classes).

    Args:
        classes: (n, n_classes) probabilities f.
        omega: (n,) weight of the shared matrix.
        common: (n_classes, n_classes) A_g, [true, given].
        own: (n, n_classes, n_classes) A_w.
    """
    weight = omega[:, None, None]
    # A sum of products, because autocast would round a matrix product to bfloat16.
    return (classes[:, :, None] * (weight * common + (1 - weight) * own)).sum(dim=1)


class _CommonNoise(WrappedNetwork):
    mean_omega: Tensor

    def __init__(self, network: nn.Module, n_inputs: int, n_workers: int, n_classes: int, embedding: int) -> None:
        super().__init__(network)
        self.common = nn.Parameter(2 * torch.eye(n_classes))
        self.own = nn.Parameter(2 * torch.eye(n_classes).repeat(n_workers, 1, 1))
        self.of_item = nn.Sequential(nn.Flatten(), nn.Linear(n_inputs, _HIDDEN), nn.Linear(_HIDDEN, embedding))
        self.of_worker = nn.Linear(n_workers, embedding)
        self.register_buffer("mean_omega", torch.full((n_workers,), 0.5))

    def omega(self, inputs: Tensor) -> Tensor:
        """Return the weight of the shared matrix, (n, n_workers)."""
        worker = functional.normalize(self.of_worker.weight.T + self.of_worker.bias, dim=1)
        item = functional.normalize(self.of_item(inputs).to(worker.dtype), dim=1)
        return (item @ worker.T).to(worker.dtype).sigmoid()
