"""Choose the training items that are held out for validation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crowdml.datasets.data import stratified_order


def hold_out(items: Tensor, labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the items to train on, and the indices of the items to hold out, stratified by label.

    Args:
        items: (n,) indices of the items to split.
        labels: (n_items,) labels of all items.
        share: share of the items to hold out, in [0, 1).
        seed: determines the draw, so that several trainings of one task hold out the same items.

    Raises:
        ValueError: one of the two parts would be empty.
    """
    if share == 0:
        return items, items[:0]
    n_held_out = round(share * len(items))
    if not 0 < n_held_out < len(items):
        raise ValueError(
            f"recipe.validation {share:g} of {len(items)} items leaves nothing to train on or nothing to validate on"
        )
    order = stratified_order(labels[items].cpu().numpy().astype(np.int64), seed)
    place = torch.as_tensor(np.sort(order[:n_held_out]), device=items.device)
    held_out = torch.zeros(len(items), dtype=torch.bool, device=items.device)
    held_out[place] = True
    return items[~held_out], items[held_out]
