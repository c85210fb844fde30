"""Random crops and flips of a batch of images on their device, drawn anew for each image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Return the augmented images.

    Args:
        images: (n, channels, height, width).
        kind: "none", "flip" (mirror each image with probability 1/2), "crop" (shift by up to an eighth of the side,
            with zeros around the image), or "crop_flip" (both).
        generator: source of the random draws, on the images' device.
    """
    if kind == "none":
        return images
    n, _, height, width = images.shape
    pad, device = 0 if kind == "flip" else max(1, width // 8), images.device
    top, left = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator, device=device)
    rows = torch.arange(height, device=device) + top
    columns = torch.arange(width, device=device).expand(n, width)
    if kind != "crop":
        flip = torch.rand((n, 1), generator=generator, device=device) < 0.5
        columns = torch.where(flip, width - 1 - columns, columns)
    columns = columns + left
    padded = functional.pad(images, (pad, pad, pad, pad))
    item = torch.arange(n, device=device)[:, None, None]
    return padded[item, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
