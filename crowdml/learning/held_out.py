"""Which items judge a network instead of teaching it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crowdml.datasets.data import stratified_order


def hold_out(items: Tensor, labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """The items to train on and the items held out, drawn by the seed in proportion to their labels.

    Args:
        items: (n,) indices.
        labels: (n_items,) one label an item, of all items.
        share: of the items to hold out, in [0, 1).
        seed: of the draw; the same whatever is trained, so that several trainings of a task hold out the same items.

    Raises:
        ValueError: no item would be held out, or none left.
    """
    if share == 0:
        return items, items[:0]
    n_held_out = round(share * len(items))
    if not 0 < n_held_out < len(items):
        raise ValueError(f"recipe.validation {share:g} of {len(items)} items leaves one side without any")
    order = stratified_order(labels[items].cpu().numpy().astype(np.int64), seed)
    place = torch.as_tensor(np.sort(order[:n_held_out]), device=items.device)
    held_out = torch.zeros(len(items), dtype=torch.bool, device=items.device)
    held_out[place] = True
    return items[~held_out], items[held_out]
