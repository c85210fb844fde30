"""How a network is trained: plain data, part of a grid cell.  Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """SGD with momentum and a step schedule.

    Args:
        epochs: passes over the training items.
        batch_size: items a step, over all devices together.
        lr: learning rate of the first epoch.
        momentum: of SGD.
        weight_decay: L2 penalty, on every parameter.
        milestones: epochs after which the learning rate is multiplied by `lr_decay`.
        lr_decay: see `milestones`.
        augment: "crop_flip" pads by an eighth of the side, crops at random and flips; "crop" does not flip (digits);
            "none" leaves images as they are.
        precision: "auto" is bfloat16 autocast on a GPU that has it and float32 elsewhere.

    Raises:
        ValueError: a value out of range.
    """

    epochs: int = 120
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-3
    milestones: tuple[int, ...] = ()
    lr_decay: float = 0.1
    augment: Literal["none", "crop", "crop_flip"] = "none"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"recipe.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("lr", "lr_decay"):
            if not getattr(self, name) > 0:
                raise ValueError(f"recipe.{name} must be above 0, got {getattr(self, name)}")
        for name in ("momentum", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"recipe.{name} must not be negative, got {getattr(self, name)}")
        if self.augment not in ("none", "crop", "crop_flip"):
            raise ValueError(f'recipe.augment must be "none", "crop" or "crop_flip", got {self.augment!r}')
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f'recipe.precision must be "auto", "float32" or "bfloat16", got {self.precision!r}')
