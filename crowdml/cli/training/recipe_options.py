"""Command-line options for the fields of a Recipe."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from crowdml.learning.recipe import Recipe
from crowdml.training.defaults import RECIPE

HELP = {
    "epochs": "passes over the items",
    "batch_size": "items per step, over all processes",
    "lr": "highest learning rate of the schedule",
    "momentum": "momentum of sgd; first beta of the other optimisers",
    "weight_decay": "weight of the L2 penalty; decoupled with adamw",
    "milestones": "schedule step: epochs after which the learning rate falls",
    "lr_decay": "schedule step: the factor by which the learning rate falls",
    "augment": "random crops and flips of images",
    "precision": "auto: bfloat16 on a GPU that has it, else float32",
    "optimizer": "optimiser",
    "schedule": "how the learning rate changes",
    "decay_from": "schedule linear: the epoch from which the learning rate falls",
    "late_momentum": "schedule linear: the momentum from that epoch on",
    "inputs": "standard: mean 0 and deviation 1; unit: pixels scaled to [0, 1]",
    "validation": "share of the items that is held out to score the network",
    "patience": "stop after this many epochs without a better validation loss",
    "keep": "keep the network of the last epoch, or of the best validation loss",
}


def add_recipe(command: argparse.ArgumentParser) -> None:
    """Add one option per field of Recipe."""
    group = command.add_argument_group("training")
    hints = get_type_hints(Recipe)
    for name, hint in ((item.name, hints[item.name]) for item in fields(Recipe)):
        default = getattr(RECIPE, name)
        says = f"{HELP[name]} (default {'none' if default in (None, ()) else default})"
        group.add_argument(f"--{name.replace('_', '-')}", dest=f"recipe_{name}", help=says, **_kind(hint))


def read_recipe(options: argparse.Namespace) -> Recipe:
    """Return the default recipe with the given values; raise ValueError for a value out of range."""
    given = {item.name: getattr(options, f"recipe_{item.name}") for item in fields(Recipe)}
    return replace(RECIPE, **{name: value for name, value in given.items() if value is not None})


def _kind(hint: Any) -> dict[str, Any]:
    """Return how argparse reads a field of this type."""
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if get_origin(hint) is tuple:
        return {"nargs": "*", "type": int, "metavar": "N"}
    plain = next((part for part in get_args(hint) if part is not NoneType), hint)
    return {"type": plain, "metavar": "N" if plain is int else "X"}
