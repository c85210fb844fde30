"""Distinguish GPUs from processors by name, and compute how many cells share a GPU."""

from __future__ import annotations

import re
from math import floor

# The name of a processor may end in "with Radeon Graphics", so a GPU name must not contain words of processors.
_GPU = re.compile(r"\b(nvidia|tesla|geforce|quadro|titan|rtx|gtx|grid|radeon|instinct)\b", re.IGNORECASE)
_PROCESSOR = re.compile(r"\b(cpu|processor|ryzen|athlon|epyc|xeon|core)\b|-core\b", re.IGNORECASE)

MARGIN = 1.25
"""Factor on the memory per cell, because cells of one network and data set need different amounts."""
CONTEXT_MB = 500.0
"""Memory that CUDA itself takes per process, which torch does not count."""


def is_gpu(device: str | None) -> bool:
    """Return whether a device name of the results is the name of a GPU."""
    return device is not None and _GPU.search(device) is not None and _PROCESSOR.search(device) is None


def share_of_gpu(peak_mb: float, total_mb: float, *, at_most: int = 8) -> float:
    """Return the share of a GPU that a cell asks Ray for: 1/k for k cells at a time.

    Args:
        peak_mb: memory of the largest cell on the GPU, in MB.
        total_mb: memory of the GPU, in MB.
        at_most: largest number of cells at a time; more cells gain nothing from sharing.

    Raises:
        ValueError: a size is not above 0, or a cell does not fit.
    """
    for name, value in (("peak_mb", peak_mb), ("total_mb", total_mb), ("at_most", at_most)):
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value:g}")
    if peak_mb + CONTEXT_MB > total_mb:
        raise ValueError(
            f"a cell needs {peak_mb + CONTEXT_MB:.0f} MB and the GPU has {total_mb:.0f} MB; "
            "make recipe.batch_size or n_train smaller, or take a larger GPU"
        )
    fit = floor(total_mb / (peak_mb * MARGIN + CONTEXT_MB))
    return 1 / min(max(fit, 1), at_most)
