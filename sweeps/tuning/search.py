"""Search: a method on a crowd, the ranges of its options, and the objective."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from crowdml import methods
from crowdml.experiment.cell import Cell
from crowdml.learning.recipe import Recipe
from crowdml.methods.search_spaces import method_defaults, method_space
from crowdml.support.search_space import Space, Value, check_in
from sweeps.grid.grids import with_changes

Objective = Literal["noisy_validation", "clean_validation"]
RECIPE_PREFIX = "recipe."
"""Prefix of the options that are fields of the recipe."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search for the best options of a method on one crowd.

    Args:
        cell: the cell with the method's default options and the first seed.
        seeds: the value of a point is the mean over these seeds.
        objective: measures the value of a point, see `sweeps.tuning.objective`.
        space: option -> range; fields of the recipe have the prefix "recipe.".
        share: the part of the items (without a network: of the annotations) that is held out for validation, in (0, 1).

    Raises:
        ValueError: the space is empty, or an argument is out of range.
    """

    cell: Cell
    seeds: tuple[int, ...]
    objective: Objective
    space: Space
    share: float = 0.2

    def __post_init__(self) -> None:
        if not self.space:
            raise ValueError(f"method {self.cell.method} has no option to search; tune the recipe with --recipe")
        if self.objective not in get_args(Objective):
            raise ValueError(f"objective must be one of {', '.join(get_args(Objective))}, got {self.objective!r}")
        if not 0 < self.share < 1:
            raise ValueError(f"validation share must be in (0, 1), got {self.share:g}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be one or more different numbers, got {list(self.seeds)}")

    @property
    def name(self) -> str:
        """The name of the study.  Two searches have one name only if each trial has the same result in both."""
        content = [
            self.cell.id,
            methods.version(self.cell.method, labels_only=self.cell.training is None),
            self.seeds,
            self.objective,
            self.share,
            {name: str(kind) for name, kind in self.space.items()},
        ]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.cell.method} on {self.cell.dataset} {digest}"

    def defaults(self) -> dict[str, Value]:
        """Return the point of the default options.

        Raises:
            ValueError: a default is outside its range.
        """
        point = method_defaults(self.cell.method, labels_only=self.cell.training is None)
        if self.cell.training is not None:
            point |= {f"{RECIPE_PREFIX}{name}": getattr(self.cell.training.recipe, name) for name in Recipe.SPACE}
        defaults = {name: point[name] for name in self.space}
        for name, value in defaults.items():
            check_in(self.space, name, value)
        return defaults

    def cell_at(self, point: Mapping[str, Value], seed: int) -> Cell:
        """Return the cell of a point.  If the point changes the epochs, the schedule changes in proportion."""
        options, changes = split_point(point)
        training = self.cell.training
        if training is not None and changes:
            training = replace(training, recipe=with_changes(training.recipe, changes))
        return replace(self.cell, seed=seed, method_options=tuple(options.items()), training=training)


def make_search(
    cell: Cell,
    *,
    seeds: Sequence[int],
    objective: Objective,
    options: Sequence[str] | None = None,
    recipe: Sequence[str] = (),
    share: float = 0.2,
) -> Search:
    """Make a search over the ranges that a method and the recipe declare.

    Args:
        cell: a cell without method options.
        seeds, objective, share: see Search.
        options: the method's options to search; None searches all options that have a range.
        recipe: the fields of the recipe to search in addition.

    Raises:
        ValueError: an option has no range, or an argument is out of range.
    """
    declared = method_space(cell.method, labels_only=cell.training is None)
    wanted = list(declared) if options is None else list(options)
    for name in wanted:
        if name not in declared:
            raise ValueError(f"--options {name}: method {cell.method} has no range for it {_available(declared)}")
    for name in recipe:
        if name not in Recipe.SPACE:
            raise ValueError(f"--recipe {name}: the recipe has no range for it {_available(Recipe.SPACE)}")
    if recipe and cell.training is None:
        raise ValueError(f"--recipe: a cell of {cell.method} on {cell.dataset} trains no network")
    space = {name: declared[name] for name in wanted}
    space |= {f"{RECIPE_PREFIX}{name}": Recipe.SPACE[name] for name in recipe}
    return Search(cell=cell, seeds=tuple(seeds), objective=objective, space=space, share=share)


def split_point(point: Mapping[str, Value]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the method's options and the recipe's fields of a point."""
    options = {name: value for name, value in point.items() if not name.startswith(RECIPE_PREFIX)}
    fields = {name.removeprefix(RECIPE_PREFIX): point[name] for name in point if name.startswith(RECIPE_PREFIX)}
    return options, fields


def _available(space: Space) -> str:
    return f"(there are: {', '.join(space) or 'none'})"
