"""Write a preset as the text of a grid file, which a user can change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from crowdml.learning.recipe import Recipe
from sweeps.grid.block_check import OPTION_AXES
from sweeps.grid.grids import AXES, Block, Preset
from sweeps.grid.toml_file import toml_key, toml_value

_WIDTH = 120


def preset_to_toml(preset: Preset, *, only: str | None = None, priority: Sequence[str] = ()) -> str:
    """Return a preset as the text of a grid file: all axes, and all other fields that differ from their default.

    Args:
        preset: the grid.
        only: the filter of the file; see `sweeps.grid.selection.select`.
        priority: the order of the cells; see `sweeps.grid.selection.order`.

    Raises:
        ValueError: an option is None, which a grid file cannot hold.
    """
    lines = [f"description = {toml_value(preset.description)}"]
    if only is not None:
        lines.append(f"only = {toml_value(only)}")
    if priority:
        lines.append(f"priority = {toml_value(tuple(priority))}")
    for block in preset.blocks:
        lines += ["", "[[block]]", *_block(block)]
    return "\n".join(lines) + "\n"


def _block(block: Block) -> Iterator[str]:
    tables: dict[str, Mapping[str, Any]] = {
        "recipe": _changed(block.recipe or Recipe()),
        "other_axes": block.other_axes,
    }
    for field, axis in OPTION_AXES.items():
        # Presets share tables of options; the file keeps only the options that the block uses.
        used = {name: options for name, options in getattr(block, field).items() if name in getattr(block, axis)}
        tables |= {f"{field}.{toml_key(name)}": options for name, options in used.items()}
    changed = _changed(block)
    for name in (item.name for item in fields(Block)):
        if name in AXES or (name in changed and name not in (*OPTION_AXES, "recipe", "other_axes")):
            yield _assignment(name, getattr(block, name))
    for header, table in tables.items():
        if table or (header == "recipe" and block.recipe is not None):
            yield f"\n[block.{header}]"
        for key, value in table.items():
            if value is None:
                raise ValueError(f"{header}.{key} is None, which a grid file cannot hold; leave it out")
            yield _assignment(toml_key(key), value)


def _changed(owner: Block | Recipe) -> dict[str, Any]:
    """Return the fields that differ from their default."""
    return {item.name: getattr(owner, item.name) for item in fields(owner) if getattr(owner, item.name) != item.default}


def _assignment(key: str, value: Any) -> str:
    line = f"{key} = {toml_value(value)}"
    if len(line) <= _WIDTH or not isinstance(value, tuple):
        return line
    return "\n".join([f"{key} = [", *(f"  {toml_value(part)}," for part in value), "]"])
