"""A pass over the training items, for what a crowd learner wants to know of all of them after its training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from crowdml.learning.task import Task


def inputs_of(task: Task, items: Tensor | None) -> Iterator[Tensor]:
    """The inputs (n, ...) of (n_wanted,) training items, by default of all, batch by batch; not augmented."""
    wanted = torch.arange(task.n_items, device=task.device) if items is None else items.to(task.device)
    return (inputs for (inputs,) in task.inputs.batches(wanted.split(task.inputs.predict_batch)))
