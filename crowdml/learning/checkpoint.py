"""Checkpoint: the state of a training in a file, so that an interrupted training can continue."""

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
    """The file is no checkpoint, or the checkpoint of another training."""


@dataclass
class Checkpoint:
    """The state of one training in one file.

    Args:
        path: the file; its folder is created when the file is written.
        identity: text that identifies the training; a file with another identity is refused.
        every: minimum number of seconds between two writes during the training.
    """

    path: Path
    identity: str
    every: float = 60.0

    def __post_init__(self) -> None:
        self._written = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether `every` seconds have passed since the last write."""
        return time.monotonic() - self._written >= self.every

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """Return the state in the file, with its tensors on the device, or None if there is no file.

        Raises:
            CheckpointMismatchError: the file belongs to another training, or is no checkpoint.
        """
        if not self.path.is_file():
            return None
        try:
            # weights_only reads only tensors and plain values, so that a foreign file cannot run code.
            state = torch.load(self.path, map_location=device, weights_only=True)
            identity = state["identity"]
        except Exception as error:
            raise self.damaged(error) from error
        if identity != self.identity:
            raise CheckpointMismatchError(
                f"{self.path} belongs to another training ({identity}, now {self.identity}); "
                "delete it or choose another folder"
            )
        return state

    def damaged(self, error: Exception) -> CheckpointMismatchError:
        """Return the error for a file that holds no complete state.  Reading the file raised `error`."""
        return CheckpointMismatchError(
            f"{self.path} cannot be read as a checkpoint ({type(error).__name__}); delete it to train anew"
        )

    def write(self, state: dict[str, Any]) -> None:
        """Replace the content of the file by this state.  If several processes train, only the first process writes.

        If the file cannot be written, for example on a full disk, warn and keep the old file.
        """
        self._written = time.monotonic()
        if parallel.rank() != 0:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as partial:
                torch.save({**state, "identity": self.identity}, partial)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError if the disk is full
            warnings.warn(f"the training continues, but cannot write {self.path}: {error}", stacklevel=2)


def copy_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of the model's state that later training does not change."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
