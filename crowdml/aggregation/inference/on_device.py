"""The E-step with expected counts on a GPU: `kernels.expectation` as sparse products in torch."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from crowdml.aggregation.inference.kernels import TIED, Expectation, Tables, by_answer
from crowdml.labels import Array, CrowdLabels
from crowdml.support.torch_device import usable_device


class OnDevice:
    """A crowd and its posterior in the memory of a device.  Only tables and sums are copied to and from the device.

    Args:
        crowd, hard: see `kernels.expectation`.
        posterior: (n_items, n_classes) the first posterior.
        device: a torch device name.
    """

    def __init__(self, crowd: CrowdLabels, posterior: Array, device: str, *, hard: bool = False) -> None:
        place = usable_device(device)
        n_answers = crowd.n_workers * crowd.n_classes
        start, answers = (
            torch.from_numpy(part).to(place, torch.int64) for part in (crowd.by_item.start, crowd.answers)
        )
        ones = torch.ones(crowd.n_annotations, dtype=torch.float64, device=place)
        self._given = sparse_tensor(start, answers, ones, (crowd.n_items, n_answers))
        # Keep a transposed copy: a product with a transposed view is slow, and atomic additions have no fixed order.
        order = torch.argsort(answers, stable=True)
        item = torch.repeat_interleave(torch.arange(crowd.n_items, device=place), start.diff())[order]
        received = torch.zeros(n_answers + 1, dtype=torch.int64, device=place)
        received[1:] = torch.bincount(answers, minlength=n_answers).cumsum(0)
        self._received = sparse_tensor(received, item, ones, (n_answers, crowd.n_items))
        self._posterior = torch.from_numpy(posterior).to(place)
        self._shape = (crowd.n_workers, crowd.n_classes, crowd.n_classes)
        self._hard = hard
        gold = np.full(0, -1) if crowd.gold is None else crowd.gold
        self._known = torch.from_numpy(np.flatnonzero(gold >= 0)).to(place)
        self._gold = torch.from_numpy(gold[gold >= 0].astype(np.int64)).to(place)

    def e_step(self, tables: Tables) -> Expectation:
        """Do `kernels.expectation`.  The posterior stays on the device."""
        log_joint = self._given @ self._to_device(by_answer(tables.log_confusion))
        log_joint += self._to_device(tables.log_prior)
        kept = log_joint[self._known, self._gold]
        log_joint[self._known] = -torch.inf
        log_joint[self._known, self._gold] = kept
        log_evidence = torch.logsumexp(log_joint, dim=1)
        if self._hard:
            # In torch, argmax over a tie is undefined.  The first of the largest entries is the lowest class.
            best = (log_joint >= log_joint.max(dim=1, keepdim=True).values - TIED).to(torch.uint8).argmax(dim=1)
            updated = torch.nn.functional.one_hot(best, log_joint.shape[1]).to(log_joint.dtype)
        else:
            updated = torch.exp(log_joint - log_evidence[:, None])
        moved = (updated - self._posterior).abs().max()
        self._posterior = updated
        counts = (self._received @ updated).cpu().numpy().reshape(self._shape).transpose(0, 2, 1)
        return Expectation(counts, updated.sum(dim=0).cpu().numpy(), float(log_evidence.sum()), float(moved))

    def posterior(self) -> Array:
        """Return the (n_items, n_classes) posterior after the last step."""
        return self._posterior.cpu().numpy()

    def _to_device(self, table: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(table)).to(self._posterior.device)


def sparse_tensor(start: Tensor, column: Tensor, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a sparse tensor stored by row, without torch's warning that such tensors are new."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(start, column, value, shape, check_invariants=False)
