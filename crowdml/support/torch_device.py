"""Choose the torch device of this process.  Imports torch."""

from __future__ import annotations

import os

import torch


def default_device() -> str:
    """Return the GPU of this process, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"
