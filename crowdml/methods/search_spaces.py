"""The search space of a method: the searchable options of its source and its learner that the registry does not fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from crowdml import methods
from crowdml.methods.registry import REGISTRY
from crowdml.support.search_space import Space, Value


def method_space(name: str, *, labels_only: bool = False) -> Space:
    """Return the searchable options of a method, with the names that `methods.resolve` accepts.

    Options that the entry in the registry sets are left out.  For example `nna` always has alpha 1.  `labels_only`
    leaves out the learner.

    Raises:
        UnknownNameError: the method is unknown.
    """
    found = _searchable(name, labels_only=labels_only)
    return {option: part.SPACE[field_name] for option, (part, field_name) in found.items()}


def method_defaults(name: str, *, labels_only: bool = False) -> dict[str, Value]:
    """Return the default values of the options of `method_space`."""
    found = _searchable(name, labels_only=labels_only)
    return {option: getattr(part, field_name) for option, (part, field_name) in found.items()}


def _searchable(name: str, *, labels_only: bool) -> dict[str, tuple[Any, str]]:
    """Map each option, as the user writes it, to its part and its name in this part."""
    method = methods.resolve(name, labels_only=labels_only)
    source_name, learner_name = methods.parts(name)
    is_crowd = source_name in REGISTRY and REGISTRY[source_name].kind == "crowd"
    objects = {"source": method.source.learner if is_crowd else method.source}
    if method.learner is not None:
        objects["learner"] = method.learner
    fixed = {"source": _fixed(source_name), "learner": _fixed(learner_name)}
    names = {part: {item.name for item in fields(value)} for part, value in objects.items()}
    found: dict[str, tuple[Any, str]] = {}
    for part, value in objects.items():
        others = set().union(*(names[other] for other in objects if other != part))
        for option in getattr(value, "SPACE", {}):
            if option not in fixed[part]:
                found[f"{part}.{option}" if option in others else option] = (value, option)
    return found


def _fixed(name: str) -> Mapping[str, Any]:
    return REGISTRY[name].options if name in REGISTRY else {}
