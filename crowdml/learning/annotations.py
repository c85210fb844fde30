"""The annotations of a crowd as tensors on a device, with fast access by item."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crowdml.labels import CrowdLabels


@dataclass(frozen=True, eq=False)
class BatchAnnotations:
    """The annotations of a batch of items, in the order of the items.

    Attributes:
        row: (n_annotations,) int64, position of the annotated item in the batch.
        worker: (n_annotations,) int64, index of the worker.
        label: (n_annotations,) int64, the label that the worker gave.
    """

    row: Tensor
    worker: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.row)


class Annotations:
    """The annotations of all items on a device, sorted by item.

    Attributes:
        per_item: (n_items,) int64 number of annotations per item.
    """

    def __init__(self, crowd: CrowdLabels, device: torch.device) -> None:
        self.n_workers, self.n_classes, self.n_items = crowd.n_workers, crowd.n_classes, crowd.n_items
        item = torch.as_tensor(crowd.item.astype("int64"), device=device)
        order = torch.argsort(item, stable=True)
        self._worker = torch.as_tensor(crowd.worker.astype("int64"), device=device)[order]
        self._label = torch.as_tensor(crowd.label.astype("int64"), device=device)[order]
        self.per_item = torch.bincount(item, minlength=crowd.n_items)
        self._first = torch.cumsum(self.per_item, dim=0) - self.per_item

    def of(self, items: Tensor) -> BatchAnnotations:
        """Return the annotations of (n,) items; `row` is a position in `items`, from 0 to n - 1."""
        count = self.per_item[items]
        row = torch.repeat_interleave(count)
        within = torch.arange(len(row), device=row.device) - (torch.cumsum(count, dim=0) - count)[row]
        place = self._first[items][row] + within
        return BatchAnnotations(row, self._worker[place], self._label[place])

    def all(self) -> BatchAnnotations:
        """Return the annotations of all items."""
        return BatchAnnotations(torch.repeat_interleave(self.per_item), self._worker, self._label)
