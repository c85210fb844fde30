"""Read a grid from a TOML file: blocks of axes (`sweeps.grid.grids.Block`), a filter and a priority.

    description = "EM against the majority vote"
    only = 'not (pattern == "flip" and n_workers > 9)'
    priority = ["seed"]

    [[block]]
    extends = "labels"              # the blocks of a preset; the keys below replace their fields
    methods = ["mv", "em"]
    workers = [3, 9, 15]

    [block.method_options.em]
    max_iter = 50

The text "none" stands for None.  A grid file cannot run code: the filter is not Python (`sweeps.grid.expressions`), and
a method that is a class to import is refused unless the caller allows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from crowdml.experiment.cell import Cell
from crowdml.experiment.crowd_types import MACHINES, REAL
from crowdml.learning.recipe import Recipe
from crowdml.support.names import check_name
from sweeps.grid.block_check import OPTION_AXES, check_block
from sweeps.grid.expressions import check_expression
from sweeps.grid.grids import AXES, OTHER_AXES, Block, Preset
from sweeps.grid.options_file import MethodName, MethodTables, recipe_problem
from sweeps.grid.presets import PRESETS
from sweeps.grid.selection import check_priority, select
from sweeps.grid.toml_file import (
    OptionValue,
    Place,
    Problem,
    TomlFileError,
    TomlTable,
    check_content,
    given_fields,
    read_toml,
    table_model,
)


def _check_tables(value: Any) -> Any:
    if not isinstance(value, tuple) or not value:
        raise ValueError("must be one or more tables, each below a line [[block]] with two brackets")
    return value


_BLOCK = table_model(
    Block,
    methods=tuple[MethodName, ...],
    method_options=MethodTables,
    other_axes=dict[
        Annotated[str, AfterValidator(lambda name: check_name("field with other values", name, OTHER_AXES))],
        Annotated[tuple[OptionValue, ...], Field(min_length=1)],
    ],
    extends=Annotated[str, AfterValidator(lambda name: check_name("preset", name, PRESETS))],
)


class _Grid(TomlTable):
    description: str | None = None
    only: Annotated[str, AfterValidator(check_expression)] | None = None
    priority: tuple[Annotated[str, AfterValidator(lambda text: check_priority([text]) or text)], ...] = ()
    block: Annotated[tuple[_BLOCK, ...], BeforeValidator(_check_tables)] = Field((), validate_default=True)  # pyright: ignore[reportInvalidTypeForm]


@dataclass(frozen=True)
class GridFile:
    """The content of a grid file.

    Args:
        preset: the description and the blocks.
        only: the filter of the cells, or None; see `sweeps.grid.selection.select`.
        priority: the order of the cells; see `sweeps.grid.selection.order`.
    """

    preset: Preset
    only: str | None = None
    priority: tuple[str, ...] = ()

    def cells(self, overrides: Mapping[str, Any] | None = None) -> list[Cell]:
        """Return the cells that the filter chooses, each once; `overrides` replaces fields of all blocks."""
        blocks = tuple(replace(block, **(overrides or {})) for block in self.preset.blocks)
        cells = replace(self.preset, blocks=blocks).cells()
        return cells if self.only is None else select(cells, self.only)


def read_grid(path: str | Path, *, allow_imports: bool = False) -> GridFile:
    """Read a grid file, and check that its cells can be made and that methods and patterns accept their options.

    Args:
        allow_imports: whether a method may be a class to import (`package.module:Class`), which runs its code.

    Raises:
        TomlFileError: the file cannot be read or is not TOML, or holds an unknown name or a value out of range.
    """
    table = check_content(path, read_toml(path), _Grid, {"allow_imports": allow_imports})
    found = [_blocks(given_fields(block), ("block", index)) for index, block in enumerate(table.block)]
    if problems := [problem for _, problems in found for problem in problems]:
        raise TomlFileError(path, problems)
    blocks = tuple(block for blocks, _ in found for block in blocks)
    description = Path(path).stem if table.description is None else table.description
    return GridFile(Preset(description, blocks), table.only, table.priority)


def _blocks(given: dict[str, Any], place: Place) -> tuple[list[Block], list[Problem]]:
    """Return the blocks of a table, and what is wrong: one block, or the blocks of the preset that it extends."""
    preset = given.pop("extends", None)
    if empty := [key for key, value in given.items() if key in AXES and not value]:
        return [], [((*place, key), "must not be empty") for key in empty]
    if given.get("recipe") is not None:
        changes = given_fields(given["recipe"])
        if problem := recipe_problem(Recipe(), changes):
            return [], [((*place, "recipe", *problem[0]), problem[1])]
        given["recipe"] = Recipe(**changes)
    if preset is not None:
        blocks = [replace(block, **_merged(block, given)) for block in PRESETS[preset].blocks]
    elif missing := [key for key in _REQUIRED if key not in given]:
        return [], [(place, f"{' and '.join(missing)} must be given; or give extends = the name of a preset")]
    else:
        blocks = [Block(**{**_defaults(given.get("patterns", ())), **given})]
    # The blocks of a preset have the same fields of the file, so the first block that is wrong says all.
    problems = list(_unused_options(blocks, given, place)) or next(
        (found for block in blocks if (found := check_block(block, given, place))), []
    )
    return blocks, problems


_REQUIRED = [item.name for item in fields(Block) if item.default is MISSING and item.default_factory is MISSING]


def _defaults(patterns: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of real workers and machine annotators: no noise rate, and all real workers."""
    defaults: dict[str, Any] = {}
    if patterns and set(patterns) <= {REAL, MACHINES}:
        defaults["noise_rates"] = (None,)
    if set(patterns) == {REAL}:
        defaults["workers"] = (None,)
    return defaults


def _merged(block: Block, given: dict[str, Any]) -> dict[str, Any]:
    """Return the given fields; options of names that the file leaves out stay as in the block."""
    return {key: {**getattr(block, key), **value} if key in OPTION_AXES else value for key, value in given.items()}


def _unused_options(blocks: list[Block], given: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    """Yield the options of names that no cell has, because they are likely mistakes."""
    for field, axis in OPTION_AXES.items():
        names = dict.fromkeys(name for block in blocks for name in getattr(block, axis))
        for name in given.get(field, {}):
            if name not in names:
                yield (*place, field, name), f"{name} is not one of the {axis} of the block ({', '.join(names)})"
