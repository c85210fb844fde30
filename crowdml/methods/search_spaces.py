"""The search space of a method by name: what its parts declare, less what the name itself fixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from crowdml import methods
from crowdml.methods.registry import REGISTRY
from crowdml.support.search_space import Space, Value


def method_space(name: str, *, labels_only: bool = False) -> Space:
    """The options of a method that can be searched, as `methods.resolve` takes them.

    What a name of the registry fixes is not searched: `nna` is NNAQC with alpha 1, whatever the others.

    Args:
        name: of the method.
        labels_only: leave the learner out, as `methods.resolve` does.

    Raises:
        UnknownNameError: an unknown method.
    """
    return {
        option: made.SPACE[field_name]
        for option, (made, field_name) in _searched(name, labels_only=labels_only).items()
    }


def method_defaults(name: str, *, labels_only: bool = False) -> dict[str, Value]:
    """The values that the options of `method_space` have where nobody sets them."""
    return {
        option: getattr(made, field_name)
        for option, (made, field_name) in _searched(name, labels_only=labels_only).items()
    }


def _searched(name: str, *, labels_only: bool) -> dict[str, tuple[Any, str]]:
    """Option as the user writes it -> the part that has it, and its name there."""
    method = methods.resolve(name, labels_only=labels_only)
    source_name, learner_name = methods.parts(name)
    is_crowd = source_name in REGISTRY and REGISTRY[source_name].kind == "crowd"
    made = {"source": method.source.learner if is_crowd else method.source}
    if method.learner is not None:
        made["learner"] = method.learner
    fixed = {"source": _fixed(source_name), "learner": _fixed(learner_name)}
    names = {part: {item.name for item in fields(value)} for part, value in made.items()}
    found: dict[str, tuple[Any, str]] = {}
    for part, value in made.items():
        others = set().union(*(names[other] for other in made if other != part))
        for option in getattr(value, "SPACE", {}):
            if option not in fixed[part]:
                found[f"{part}.{option}" if option in others else option] = (value, option)
    return found


def _fixed(name: str) -> Mapping[str, Any]:
    return REGISTRY[name].options if name in REGISTRY else {}
