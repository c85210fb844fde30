"""CrowdLayer: one layer per worker on top of the softmax output, trained on the labels of that worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.batch import Batch
from crowdml.learning.crowd.crowd_learner import CrowdLearner
from crowdml.learning.crowd.matrices import diagonal
from crowdml.learning.learner import LossTerms
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.wrapped_network import WrappedNetwork
from crowdml.support.search_space import Choice, Space

LayerForm = Literal["MW", "VW", "VW+B"]


@dataclass(frozen=True)
class CrowdLayer(CrowdLearner):
    """Pass the network's class probabilities f through one layer per worker, and fit every annotation.

    Rodrigues and Pereira, AAAI 2018, Section 4.  The layers return logits of the labels, and their weights are not
    constrained to stochastic matrices.  With one worker, "MW" is the noise layer of NNAQC.

    Args:
        form: form of a worker's layer.  "MW" is W_w f with a matrix that starts as the identity.  "VW" is w_w * f with
            one weight per class that starts as 1.  "VW+B" is w_w * f + b_w with a bias that starts as 0.
    """

    form: LayerForm = "MW"

    SPACE: ClassVar[Space] = {"form": Choice(*get_args(LayerForm))}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in get_args(LayerForm):
            raise ValueError(f'form must be "MW", "VW" or "VW+B", got {self.form!r}')

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the workers' layers."""
        return NetworkWithCrowdLayer(task.build_network(), given.crowd.n_workers, given.crowd.n_classes, self.form)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean cross-entropy of the batch's annotations, or 0 without annotations."""
        assert isinstance(model, NetworkWithCrowdLayer)
        part = batch.annotations
        f = log_probabilities(model(batch.inputs)).exp()
        logits = model.label_logits(f[part.row], part.worker)
        return {"cross_entropy": functional.cross_entropy(logits, part.label, reduction="sum") / max(len(part), 1)}

    def confusion(self, model: nn.Module) -> Tensor:
        """Return the label distribution of each worker's layer for each true class with probability 1."""
        assert isinstance(model, NetworkWithCrowdLayer)
        n_workers, n_classes = model.weight.shape[:2]
        certain = torch.eye(n_classes, device=model.weight.device).repeat(n_workers, 1)
        worker = torch.arange(n_workers, device=model.weight.device).repeat_interleave(n_classes)
        return model.label_logits(certain, worker).softmax(dim=1).reshape(n_workers, n_classes, n_classes)


class NetworkWithCrowdLayer(WrappedNetwork):
    """A network of the true class, and one layer per worker on its probabilities."""

    bias: nn.Parameter | None

    def __init__(self, network: nn.Module, n_workers: int, n_classes: int, form: LayerForm) -> None:
        super().__init__(network)
        of_matrix = form == "MW"
        self.weight = nn.Parameter(diagonal(n_workers, n_classes) if of_matrix else torch.ones(n_workers, n_classes))
        self.register_parameter("bias", nn.Parameter(torch.zeros(n_workers, n_classes)) if form == "VW+B" else None)

    def label_logits(self, f: Tensor, worker: Tensor) -> Tensor:
        """Return the logits of the label that a worker gives, (n, n_classes).

        Args:
            f: (n, n_classes) probabilities of the true class.
            worker: (n,) int64 worker who labels each item.
        """
        weight = self.weight[worker]
        scaled = weight * f if weight.ndim == 2 else (f[:, :, None] * weight).sum(dim=1)
        return scaled if self.bias is None else scaled + self.bias[worker]
