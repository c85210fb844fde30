"""Choose the torch device of this process.  Imports torch."""

from __future__ import annotations

import os

import torch


def default_device() -> str:
    """Return the name of the GPU of this process, or "cpu" if there is no GPU."""
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"


def usable_device(name: str | torch.device) -> torch.device:
    """Return a torch device by its name; "auto" means `default_device()`.

    Raises:
        ValueError: torch cannot use the device.
    """
    chosen = default_device() if name == "auto" else name
    try:
        device = torch.device(chosen)
        torch.zeros(1, device=device).cpu()  # the device "meta" holds no values
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(f"device {chosen!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device
