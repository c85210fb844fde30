"""Build the optimiser and the learning-rate schedule of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import optim

from crowdml.learning.recipe import Recipe


def make_optimizer(recipe: Recipe, groups: Iterable[dict[str, Any]]) -> optim.Optimizer:
    """Return the optimiser of the recipe for parameter groups; settings in a group replace settings of the recipe."""
    betas = (recipe.momentum, 0.999)
    if recipe.optimizer == "sgd":
        return optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True)
    if recipe.optimizer == "radam":
        return optim.RAdam(groups, lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay)
    make = optim.Adam if recipe.optimizer == "adam" else optim.AdamW
    return make(groups, lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay, fused=True)


class RateSchedule:
    """Changes the learning rate and the momentum of an optimiser during a training.

    Args:
        recipe: names the schedule.
        optimizer: the optimiser.
        steps_per_epoch: number of steps per epoch; "one_cycle" changes the learning rate at every step.
    """

    def __init__(self, recipe: Recipe, optimizer: optim.Optimizer, steps_per_epoch: int) -> None:
        self._recipe, self._optimizer = recipe, optimizer
        self._each_step = recipe.schedule == "one_cycle"
        schedulers = optim.lr_scheduler
        if recipe.schedule == "step":
            self._schedule = schedulers.MultiStepLR(optimizer, list(recipe.milestones), recipe.lr_decay)
        elif recipe.schedule == "cosine":
            self._schedule = schedulers.CosineAnnealingLR(optimizer, T_max=recipe.epochs)
        elif recipe.schedule == "linear":
            self._schedule = schedulers.LambdaLR(optimizer, self._falling)
        else:
            highest = [group["lr"] for group in optimizer.param_groups]
            self._schedule = schedulers.OneCycleLR(
                optimizer, max_lr=highest, total_steps=recipe.epochs * steps_per_epoch, cycle_momentum=False
            )

    def begin_epoch(self, epoch: int) -> None:
        """Set the momentum before the first step of an epoch.  Epochs count from 0."""
        recipe = self._recipe
        if recipe.schedule == "linear" and recipe.late_momentum is not None and epoch >= recipe.decay_from:
            for group in self._optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (recipe.late_momentum, group["betas"][1])
                else:
                    group["momentum"] = recipe.late_momentum

    def after_step(self) -> None:
        """Change the learning rate after a step, if the schedule works per step."""
        if self._each_step:
            self._schedule.step()

    def after_epoch(self) -> None:
        """Change the learning rate after an epoch, if the schedule works per epoch."""
        if not self._each_step:
            self._schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values, for `load_state_dict`."""
        return self._schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        self._schedule.load_state_dict(state)

    def _falling(self, epoch: int) -> float:
        start, end = self._recipe.decay_from, self._recipe.epochs
        return 1.0 if epoch < start else (end - epoch) / (end - start)
