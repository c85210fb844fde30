"""The fields of a Recipe as options of a command."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from crowdml.learning.recipe import Recipe
from crowdml.training.defaults import RECIPE

HELP = {
    "epochs": "passes over the items",
    "batch_size": "items a step",
    "lr": "learning rate, the highest of the schedule",
    "momentum": "of sgd; the first beta of the others",
    "weight_decay": "L2 penalty; decoupled with adamw",
    "milestones": "schedule step: epochs after which the learning rate falls",
    "lr_decay": "schedule step: the factor by which it falls",
    "augment": "random crops and flips of images",
    "precision": "auto: bfloat16 where a GPU has it",
    "optimizer": "",
    "schedule": "of the learning rate",
    "decay_from": "schedule linear: the epoch from which it falls",
    "late_momentum": "schedule linear: the momentum from then on",
    "inputs": "standard: mean 0 and deviation 1; unit: pixels scaled to [0, 1]",
    "validation": "share of the items held out to judge the network by",
    "patience": "stop after so many epochs without a better validation loss",
    "keep": "the network of the last epoch, or the best by validation loss",
}


def add_recipe(command: argparse.ArgumentParser) -> None:
    """An option for each field."""
    group = command.add_argument_group("training")
    hints = get_type_hints(Recipe)
    for name, hint in ((item.name, hints[item.name]) for item in fields(Recipe)):
        default = getattr(RECIPE, name)
        shown = "none" if default in (None, ()) else default
        says = f"{HELP[name]} (default {shown})".strip()
        group.add_argument(f"--{name.replace('_', '-')}", dest=_destination(name), help=says, **_kind(hint))


def read_recipe(options: argparse.Namespace) -> Recipe:
    """The default recipe with what was given.

    Raises:
        ValueError: a value out of range.
    """
    given = {item.name: getattr(options, _destination(item.name)) for item in fields(Recipe)}
    return replace(RECIPE, **{name: value for name, value in given.items() if value is not None})


def _destination(name: str) -> str:
    return f"recipe_{name}"


def _kind(hint: Any) -> dict[str, Any]:
    """How argparse reads a field of that type."""
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if get_origin(hint) is tuple:
        return {"nargs": "*", "type": int, "metavar": "N"}
    plain = next((part for part in get_args(hint) if part is not NoneType), hint)
    return {"type": plain, "metavar": "N" if plain is int else "X"}
