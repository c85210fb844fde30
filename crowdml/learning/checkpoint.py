"""Trainings that go on where they were interrupted: one file a training, written whole or not at all."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from crowdml.learning import parallel
from crowdml.support.whole_file import whole_file


class CheckpointMismatchError(ValueError):
    """A checkpoint is of another training than the one that is to go on."""


@dataclass
class Checkpoint:
    """The state of one training in one file.

    Args:
        path: of the file; its folder is made.
        identity: names the training; a file of another one is refused.
        every: seconds between two writings within a training.
    """

    path: Path
    identity: str
    every: float = 60.0

    def __post_init__(self) -> None:
        self._written = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last writing is long enough ago."""
        return time.monotonic() - self._written >= self.every

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """The state that was written last, on the device; None if there is none.

        Raises:
            CheckpointMismatchError: it is of another training, or no checkpoint at all.
        """
        if not self.path.is_file():
            return None
        try:
            # Only tensors and plain values: a file that somebody else put here cannot run code.
            state = torch.load(self.path, map_location=device, weights_only=True)
            identity = state["identity"]
        except Exception as error:
            raise CheckpointMismatchError(
                f"{self.path} cannot be read as a checkpoint ({type(error).__name__}); delete it to train anew"
            ) from error
        if identity != self.identity:
            raise CheckpointMismatchError(
                f"{self.path} is of another training ({identity}, now {self.identity}); "
                "delete it or choose another folder"
            )
        return state

    def write(self, state: dict[str, Any]) -> None:
        """Put the state in the place of the last one; of several processes the first does it.

        Where it cannot be written, on a full disk, the training goes on without: it warns, and tries again when due.
        """
        self._written = time.monotonic()
        if parallel.rank() != 0:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as partial:
                torch.save({**state, "identity": self.identity}, partial)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError where a file cannot be written whole
            warnings.warn(f"the training goes on without a checkpoint: {self.path}: {error}", stacklevel=2)


def copy_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's state, which later training leaves alone."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
