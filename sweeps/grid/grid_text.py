"""A preset as the text of a grid file, for a user to start from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from crowdml.learning.recipe import Recipe
from sweeps.grid.block_check import AXES_OF_BLOCKS, OPTIONS
from sweeps.grid.grids import Block, Preset
from sweeps.grid.toml_values import NONE

_WIDTH = 120


def preset_to_toml(preset: Preset, *, only: str | None = None, priority: Sequence[str] = ()) -> str:
    """The text of a grid file with the preset's cells: all axes, and the other fields that are not at their default.

    Args:
        preset: the grid.
        only: a filter for the file; see `sweeps.grid.selection.select`.
        priority: see `sweeps.grid.selection.order`.

    Raises:
        ValueError: an option is None, which TOML has no word for.
    """
    lines = [f"description = {_value(preset.description)}"]
    if only is not None:
        lines.append(f"only = {_value(only)}")
    if priority:
        lines.append(f"priority = {_value(tuple(priority))}")
    for block in preset.blocks:
        lines += ["", "[[block]]", *_block(block)]
    return "\n".join(lines) + "\n"


def _block(block: Block) -> Iterator[str]:
    for axis in AXES_OF_BLOCKS:
        yield _assignment(axis, getattr(block, axis))
    for item in fields(Block):
        value = getattr(block, item.name)
        if item.name not in (*AXES_OF_BLOCKS, *OPTIONS, "recipe") and value != item.default:
            yield _assignment(item.name, value)
    if block.recipe is not None:
        yield "\n[block.recipe]"
        yield from _recipe(block.recipe)
    for field, axis in OPTIONS.items():
        # Presets share tables of options; a file says only what its block uses.
        used = {name: options for name, options in getattr(block, field).items() if name in getattr(block, axis)}
        yield from _tables(field, used)


def _recipe(recipe: Recipe) -> Iterator[str]:
    for item in fields(Recipe):
        value = getattr(recipe, item.name)
        if item.default is MISSING or value != item.default:
            yield _assignment(item.name, value)


def _tables(field: str, options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, table in options.items():
        if not table:
            continue
        yield f"\n[block.{field}.{_key(name)}]"
        for option, value in table.items():
            if value is None:
                raise ValueError(f"{field}.{name}.{option} is None, which a grid file cannot say")
            yield f"{_key(option)} = {_value(value)}"


def _assignment(name: str, value: Any) -> str:
    line = f"{name} = {_value(value)}"
    if len(line) <= _WIDTH or not isinstance(value, tuple):
        return line
    return "\n".join([f"{name} = [", *(f"  {_value(part)}," for part in value), "]"])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_value, value))}]"
    # JSON writes texts, numbers and truth values as TOML does.
    return json.dumps(NONE if value is None else value, ensure_ascii=False)
