"""What is searched: a method on a crowd, its options' ranges, and what a point of them is judged by."""

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
OF_RECIPE = "recipe."
"""What the names of a recipe's options begin with."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search.

    Args:
        cell: what is computed, with the method's options at their defaults; its seed is the first of `seeds`.
        seeds: a point's value is the mean over these.
        objective: what a point is judged by, see `sweeps.tuning.objective`.
        share: of the items (or of the annotations, without a network) that is held out to judge by, in (0, 1).
        space: option -> range; those of the recipe begin with "recipe.".

    Raises:
        ValueError: nothing to search, or a value out of range.
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
            raise ValueError(f"seeds must be different and at least one, got {list(self.seeds)}")

    @property
    def name(self) -> str:
        """What the study is called in its storage: the same only where every trial would give the same."""
        content = [
            self.cell.id,
            methods.version(self.cell.method, labels_only=self.cell.network is None),
            self.seeds,
            self.objective,
            self.share,
            {name: str(kind) for name, kind in self.space.items()},
        ]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.cell.method} on {self.cell.dataset} {digest}"

    def defaults(self) -> dict[str, Value]:
        """The point where nothing is tuned.

        Raises:
            ValueError: it lies outside the ranges searched.
        """
        point = method_defaults(self.cell.method, labels_only=self.cell.network is None)
        if self.cell.training is not None:
            point |= {f"{OF_RECIPE}{name}": getattr(self.cell.training.recipe, name) for name in Recipe.SPACE}
        chosen = {name: point[name] for name in self.space}
        for name, value in chosen.items():
            check_in(self.space, name, value)
        return chosen

    def cell_at(self, point: Mapping[str, Value], seed: int) -> Cell:
        """The cell of a point; a recipe of more or fewer epochs has its schedule moved in proportion."""
        options, changes = parts(point)
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
    """A search over what a method declares.

    Args:
        cell: without method options.
        seeds, objective, share: see Search.
        options: the method's options to search; None is all that it declares.
        recipe: the recipe's fields to search besides.

    Raises:
        ValueError: an option that has no range, or a value out of range.
    """
    declared = method_space(cell.method, labels_only=cell.network is None)
    wanted = list(declared) if options is None else list(options)
    for name in wanted:
        if name not in declared:
            raise ValueError(f"--options {name}: method {cell.method} has no range for it {_those(declared)}")
    for name in recipe:
        if name not in Recipe.SPACE:
            raise ValueError(f"--recipe {name}: the recipe has no range for it {_those(Recipe.SPACE)}")
    if recipe and cell.training is None:
        raise ValueError(f"--recipe: a cell of {cell.method} on {cell.dataset} trains no network")
    space = {name: declared[name] for name in wanted} | {f"{OF_RECIPE}{name}": Recipe.SPACE[name] for name in recipe}
    return Search(cell=cell, seeds=tuple(seeds), objective=objective, space=space, share=share)


def parts(point: Mapping[str, Value]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The method's options and the recipe's fields of a point."""
    options = {name: value for name, value in point.items() if not name.startswith(OF_RECIPE)}
    changes = {name.removeprefix(OF_RECIPE): value for name, value in point.items() if name.startswith(OF_RECIPE)}
    return options, changes


def _those(space: Space) -> str:
    return f"(there are: {', '.join(space) or 'none'})"
