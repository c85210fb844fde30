"""A grid as a TOML file: blocks of axes as `sweeps.grid.grids.Block` has them, a filter and a priority.

    description = "EM against the majority vote"
    only = 'not (pattern == "flip" and n_workers > 9)'
    priority = ["seed"]

    [[block]]
    extends = "labels"              # the blocks of a preset; what follows replaces their fields
    methods = ["mv", "em"]
    workers = [3, 9, 15]

    [block.method_options.em]
    max_iter = 50

None is written "none".  A file cannot execute code: its filter is no Python (`sweeps.grid.expressions`), and a method
that is a class to import is refused unless the caller allows it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crowdml import methods
from crowdml.experiment.cell import Cell
from crowdml.experiment.crowd_types import MACHINES, REAL
from crowdml.support.names import check_name
from sweeps.grid.block_check import AXES_OF_BLOCKS, OPTIONS, check_block
from sweeps.grid.expressions import SelectionError, parse
from sweeps.grid.grids import Block, Preset
from sweeps.grid.presets import PRESETS
from sweeps.grid.selection import check_priority, select
from sweeps.grid.toml_lines import line_of
from sweeps.grid.toml_values import Place, TomlError, convert, fields_of, required_of

_KEYS = ("description", "only", "priority", "block")


class GridFileError(ValueError):
    """A grid file that cannot be used: `my_grid.toml:12: noise_rates: must be in [0, 1), got 1.2`."""


@dataclass(frozen=True)
class GridFile:
    """What a grid file says.

    Args:
        preset: its description and blocks.
        only: the filter of its cells, or None; see `sweeps.grid.selection.select`.
        priority: what is computed first; see `sweeps.grid.selection.order`.
    """

    preset: Preset
    only: str | None = None
    priority: tuple[str, ...] = ()

    def cells(self, overrides: Mapping[str, Any] | None = None) -> list[Cell]:
        """Its cells, each once, those of the filter only.

        Args:
            overrides: Block field -> value that replaces it in all blocks.
        """
        blocks = tuple(replace(block, **(overrides or {})) for block in self.preset.blocks)
        cells = replace(self.preset, blocks=blocks).cells()
        return cells if self.only is None else select(cells, self.only)


def read_grid(path: str | Path, *, allow_imports: bool = False) -> GridFile:
    """Read and check a grid file; its cells can be made, and their methods and patterns take their options.

    Args:
        path: of the file.
        allow_imports: whether methods may be classes to import (`package.module:Class`), which runs their code.

    Raises:
        GridFileError: one line that names the file, the line, the key and what is wrong.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GridFileError(f"cannot read grid file {path}: {error}") from error
    try:
        return _grid(tomllib.loads(text), Path(path).stem, allow_imports=allow_imports)
    except tomllib.TOMLDecodeError as error:
        raise GridFileError(_of_syntax(str(path), text, str(error))) from None
    except TomlError as error:
        key = ".".join(str(part) for part in error.place if isinstance(part, str) and part != "block")
        label = f"{key}: " if key else ""
        raise GridFileError(f"{path}:{_line(text, error.place)}: {label}{error.reason}") from None


def _line(text: str, place: Place) -> int:
    """The line of a place, or of the nearest table around it."""
    return next((line for end in range(len(place), 0, -1) if (line := line_of(text, place[:end])) is not None), 1)


def _of_syntax(path: str, text: str, message: str) -> str:
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message)
    if found is None:
        return f"{path}:1: {message}"
    reason, line, column = found.groups()
    return f"{path}:{line or text.count(chr(10)) + 1}: {reason}{f' at column {column}' if column else ''}"


def _grid(content: dict[str, Any], name: str, *, allow_imports: bool) -> GridFile:
    for key in content:
        _named("key", key, _KEYS, (key,))
    tables = content.get("block", [])
    if isinstance(tables, dict):
        raise TomlError(("block",), "write [[block]], in two brackets, for there may be several")
    if not isinstance(tables, list) or not tables:
        raise TomlError(("block",), "a grid has at least one table [[block]]")
    description = convert(content.get("description", name), str, ("description",))
    only = convert(content.get("only", "none"), str | None, ("only",))
    priority = convert(content.get("priority", []), tuple[str, ...], ("priority",))
    blocks = tuple(
        block
        for index, table in enumerate(tables)
        for block in _blocks(table, ("block", index), allow_imports=allow_imports)
    )
    try:
        if only is not None:
            parse(only)
    except SelectionError as error:
        raise TomlError(("only",), str(error)) from None
    for index, criterion in enumerate(priority):
        try:
            check_priority([criterion])
        except SelectionError as error:
            raise TomlError(("priority", index), str(error)) from None
    return GridFile(Preset(description, blocks), only, priority)


def _blocks(table: Any, place: Place, *, allow_imports: bool) -> list[Block]:
    """The blocks of a table: one, or those of the preset that it extends."""
    given = fields_of(Block, table, place, also=["extends"])
    for axis in AXES_OF_BLOCKS:
        if given.get(axis) == ():
            raise TomlError((*place, axis), "must not be empty")
    _check_methods(given, place, allow_imports=allow_imports)
    if "extends" in table:
        where = (*place, "extends")
        name = _named("preset", convert(table["extends"], str, where), PRESETS, where)
        blocks = [replace(block, **_merged(block, given)) for block in PRESETS[name].blocks]
    else:
        for key in required_of(Block):
            if key not in given:
                raise TomlError(place, f"{key} is missing, or extends with the name of a preset")
        blocks = [Block(**{**_defaults(given.get("patterns", ())), **given})]
    _check_options_are_used(blocks, given, place)
    for block in blocks:
        check_block(block, given, place)
    return blocks


def _defaults(patterns: tuple[str, ...]) -> dict[str, Any]:
    """What real workers and machine annotators leave open: both have no noise rate, and real ones come all."""
    defaults: dict[str, Any] = {}
    if patterns and set(patterns) <= {REAL, MACHINES}:
        defaults["noise_rates"] = (None,)
    if set(patterns) == {REAL}:
        defaults["workers"] = (None,)
    return defaults


def _merged(block: Block, given: dict[str, Any]) -> dict[str, Any]:
    """The fields given; the options of names that are not given stay those of the block."""
    return {
        key: {**getattr(block, key), **value} if key.endswith("_options") else value for key, value in given.items()
    }


def _check_methods(given: dict[str, Any], place: Place, *, allow_imports: bool) -> None:
    """Give methods their shortest names, in the axis and in the options, so that they are found there."""
    named = [(name, (*place, "methods", index)) for index, name in enumerate(given.get("methods", ()))]
    named += [(name, (*place, "method_options", name)) for name in given.get("method_options", {})]
    canonical: dict[str, str] = {}
    for name, where in named:
        if ":" in name and not allow_imports:
            raise TomlError(
                where,
                f'"{name}" is a class to import, and a grid file may run no code; name a method of `crowdml '
                "methods`, or give --allow-imports if you trust the file",
            )
        try:
            canonical[name] = methods.canonical(name)
        except ValueError as error:
            raise TomlError(where, str(error)) from None
    if "methods" in given:
        given["methods"] = tuple(canonical[name] for name in given["methods"])
    if "method_options" in given:
        given["method_options"] = {canonical[name]: options for name, options in given["method_options"].items()}


def _check_options_are_used(blocks: list[Block], given: dict[str, Any], place: Place) -> None:
    """Options of a name that no cell has are a slip of the pen."""
    for field, axis in OPTIONS.items():
        names = dict.fromkeys(name for block in blocks for name in getattr(block, axis))
        for name in given.get(field, {}):
            if name not in names:
                where = (*place, field, name)
                raise TomlError(where, f"the block has no {name} among its {axis} ({', '.join(names)})")


def _named(what: str, name: str, valid: Any, place: Place) -> str:
    try:
        return check_name(what, name, valid)
    except ValueError as error:
        raise TomlError(place, str(error)) from None
