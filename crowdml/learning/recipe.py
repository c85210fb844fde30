"""Recipe and TrainingSettings: how a network is trained, as plain data.  Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from crowdml.support.field_values import check_seed, convert_fields
from crowdml.support.search_space import Choice, Either, Float, Space, Whole

Optimizer = Literal["sgd", "adam", "adamw", "radam"]
Schedule = Literal["step", "linear", "cosine", "one_cycle"]
Augment = Literal["none", "flip", "crop", "crop_flip"]
Precision = Literal["auto", "float32", "bfloat16"]
InputForm = Literal["standard", "unit", "whitened"]
Keep = Literal["last", "best"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: epochs, optimiser, schedule, augmentation, form of the inputs, and validation.

    Args:
        epochs: passes over the training items.
        batch_size: items per step, summed over all devices.
        lr: learning rate of the first epoch; for "one_cycle" the highest learning rate.
        momentum: momentum of SGD; the first beta of the other optimisers.
        weight_decay: L2 penalty on every parameter; for AdamW its decoupled weight decay.
        milestones: for the schedule "step": epochs after which the learning rate is multiplied by `lr_decay`.
        lr_decay: factor for the schedule "step".
        augment: "none" leaves images unchanged; "flip" mirrors half of them; "crop" pads by an eighth of the side and
            crops at random (for digits); "crop_flip" crops and mirrors.
        precision: "auto" is bfloat16 autocast on a GPU that supports it, and float32 elsewhere.
        optimizer: "sgd", "adam", "adamw" or "radam".
        schedule: learning rate over time: "step" (see `milestones`), "linear" (constant until the epoch `decay_from`,
            then linear to 0 at the end), "cosine", or "one_cycle" (Smith and Topin 2019, changes at every step).
        decay_from: for the schedule "linear": the first epoch in which the learning rate falls.
        late_momentum: for the schedule "linear": the momentum from the epoch `decay_from` on; None does not change the
            momentum.  JoCoR and Co-teaching use 0.1.
        inputs: "standard" subtracts the mean of the training items and divides by their standard deviation, for each
            channel or feature; "unit" only scales pixels to [0, 1]; "whitened" normalises the contrast of each image
            and decorrelates the pixels (ZCA).
        validation: share of the training items that are held out, stratified by label.  The validation loss is the
            learner's loss on the (noisy) labels of these items.
        patience: number of epochs without a better validation loss after which the training stops; None trains all
            epochs.
        keep: "last" keeps the network of the last epoch, "best" the network with the best validation loss.

    Raises:
        ValueError: a value is of a wrong type or out of range, or `patience` or `keep="best"` is set without held-out
            items.
    """

    epochs: int = 120
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-3
    milestones: tuple[int, ...] = ()
    lr_decay: float = 0.1
    augment: Augment = "none"
    precision: Precision = "auto"
    optimizer: Optimizer = "sgd"
    schedule: Schedule = "step"
    decay_from: int = 0
    late_momentum: float | None = None
    inputs: InputForm = "standard"
    validation: float = 0.0
    patience: int | None = None
    keep: Keep = "last"

    SPACE: ClassVar[Space] = {
        "lr": Float(1e-4, 1, log=True),
        "weight_decay": Either(0.0, Float(1e-6, 0.1, log=True)),
        "momentum": Float(0.5, 0.99),
        "batch_size": Choice(16, 32, 64, 128, 256, 512),
        "epochs": Whole(5, 300, log=True),
        "schedule": Choice(*get_args(Schedule)),
    }

    def __post_init__(self) -> None:
        convert_fields(self, "recipe.")  # so that equal recipes have one JSON form, and so one id
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"recipe.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("lr", "lr_decay"):
            if not getattr(self, name) > 0:
                raise ValueError(f"recipe.{name} must be above 0, got {getattr(self, name)}")
        for name in ("momentum", "weight_decay", "decay_from"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"recipe.{name} must not be negative, got {getattr(self, name)}")
        if self.momentum >= 1:
            raise ValueError(f"recipe.momentum must be in [0, 1), got {self.momentum}")
        if any(epoch < 1 for epoch in self.milestones):
            raise ValueError(f"recipe.milestones must be at least 1, got {min(self.milestones)}")
        if self.schedule == "linear" and self.decay_from >= self.epochs:
            raise ValueError(
                f"recipe.decay_from must be below the {self.epochs} epochs of a linear schedule, got {self.decay_from}"
            )
        if self.late_momentum is not None and not 0 <= self.late_momentum < 1:
            raise ValueError(f"recipe.late_momentum must be in [0, 1), got {self.late_momentum}")
        if not 0 <= self.validation < 1:
            raise ValueError(f"recipe.validation must be in [0, 1), got {self.validation}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"recipe.patience must be at least 1, got {self.patience}")
        if self.validation == 0 and (self.patience is not None or self.keep == "best"):
            raise ValueError('recipe.patience and keep="best" need held-out items; set recipe.validation above 0')

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True)
class TrainingSettings:
    """What determines a training, except the items and their labels.

    Args:
        network: name of the network.
        recipe: how the network is trained.
        seed: determines every random draw of the training.
        weights: file of a pretrained state_dict for all layers but the last one; None starts from random weights.

    Raises:
        ValueError: the seed is not a whole number in [0, 2^64).
    """

    network: str
    recipe: Recipe
    seed: int = 0
    weights: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_seed(self.seed))
