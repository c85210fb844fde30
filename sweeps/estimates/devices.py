"""What a device's name says: whether it is a GPU, and how many cells share one."""

from __future__ import annotations

import re
from math import floor

# A processor's name may end in "with Radeon Graphics"; what it begins with decides.
_GPU = re.compile(r"\b(nvidia|tesla|geforce|quadro|titan|rtx|gtx|grid|radeon|instinct)\b", re.IGNORECASE)
_PROCESSOR = re.compile(r"\b(cpu|processor|ryzen|athlon|epyc|xeon|core)\b|-core\b", re.IGNORECASE)

MARGIN = 1.25
"""Memory kept free a cell, for what differs between cells of one network and data set."""
CONTEXT_MB = 500.0
"""What CUDA itself takes of a GPU for each process, which torch does not count."""


def is_gpu(device: str | None) -> bool:
    """Whether a device of the results table, a GPU's or a processor's name, is a GPU."""
    return device is not None and _GPU.search(device) is not None and _PROCESSOR.search(device) is None


def share_of_gpu(peak_mb: float, total_mb: float, *, at_most: int = 8) -> float:
    """The share of a GPU that a cell asks Ray for: 1/k for k cells at a time.

    Args:
        peak_mb: memory of the largest cell on the GPU, in MB.
        total_mb: memory of the GPU.
        at_most: cells at a time that still gain from sharing; the processors time-slice beyond.

    Raises:
        ValueError: a size that is not above 0, or a cell that does not fit.
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
