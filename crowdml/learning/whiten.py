"""Contrast normalisation and ZCA whitening of images, as in the CIFAR-10 example of MatConvNet."""

from __future__ import annotations

import torch
from torch import Tensor

# Smallest divisors, for pixels from 0 to 255, as in the example.
LEAST_CONTRAST, LEAST_DEVIATION = 40.0, 10.0


def whiten(train: Tensor, test: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return whitened training and test images, float32, from uint8 images (n, channels, height, width).

    All statistics are estimated from the training images.  The steps are:

    1. Subtract the mean training image.
    2. Subtract from each image its own mean.  Divide it by its own standard deviation, or by LEAST_CONTRAST if that is
       larger, and multiply it by the mean standard deviation of the training images.
    3. ZCA: with the eigenvectors V and eigenvalues d of the second moments of the pixels, multiply by
       V diag(r / max(sqrt d, LEAST_DEVIATION)) V', where r is the root of the mean of d.
    4. Scale the training images to a root mean square of one, so that the usual learning rates fit.
    """
    mean = train.float().mean(dim=0)
    flat, contrast = _normalise_contrast(train, mean, None)
    eigenvalues, vectors = torch.linalg.eigh((flat.T @ flat / len(flat)).double())
    deviations = eigenvalues.clamp_min(0).sqrt()
    gain = eigenvalues.mean().sqrt() / deviations.clamp_min(LEAST_DEVIATION)
    matrix = ((vectors * gain) @ vectors.T).float()
    white = flat @ matrix
    scale = 1 / white.square().mean().sqrt()
    others = None if test is None else (_normalise_contrast(test, mean, contrast)[0] @ matrix * scale).view(test.shape)
    return (white * scale).view(train.shape), others


def _normalise_contrast(images: Tensor, mean: Tensor, contrast: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return images (n, n_pixels) of equal contrast, and that contrast; None takes their mean contrast."""
    flat = (images.float() - mean).flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    deviation = flat.std(dim=1, correction=0, keepdim=True)
    level = deviation.mean() if contrast is None else contrast
    return flat * (level / deviation.clamp_min(LEAST_CONTRAST)), level
