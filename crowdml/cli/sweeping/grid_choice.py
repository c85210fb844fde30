"""Choose the cells of a command line: a preset or a grid file, changed axes and options, and a selection."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from crowdml.cli.display import Console, speak
from crowdml.cli.sweeping.grid_options import named_by_option
from crowdml.experiment.axes import CellError
from crowdml.experiment.cell import Cell
from crowdml.noise import ASSIGNMENTS
from crowdml.support.names import check_name
from crowdml.support.whole_file import whole_file
from sweeps.grid.grid_file import GridFile, read_grid
from sweeps.grid.grid_text import preset_to_toml
from sweeps.grid.grids import AXES, axis_options
from sweeps.grid.options_file import MethodOptions, read_options
from sweeps.grid.presets import PRESETS
from sweeps.grid.selection import check_priority, select


class Chosen(NamedTuple):
    """The cells of a grid, and the priority by which `sweeps.grid.selection.order` sorts them."""

    cells: list[Cell]
    priority: Sequence[str]


def choose_cells(options: argparse.Namespace, gpus: float, where: str, console: Console) -> Chosen:
    """Return the cells of the grid that the options of `add_grid_options` name.

    Args:
        options: the options.
        gpus: number of GPUs, which chooses the preset if the options name no grid.
        where: the place of the GPUs in words, for the message.
        console: shows which grid was chosen.

    Raises:
        ValueError: an unknown name, a value out of range, a bad file, or a selection without any cell.
    """
    grid = _grid(options, gpus, where, console)
    try:
        cells = grid.cells(overrides(options))
    except CellError as error:
        raise ValueError(named_by_option(error, options)) from error
    if options.method_options is not None:
        cells = with_options(cells, read_options(options.method_options))
    if options.only is not None:
        n_cells = len(cells)
        cells = select(cells, options.only)
        if not cells:
            raise ValueError(f"--only {options.only!r} holds for none of the {n_cells} cells of the grid")
        speak(console, f"{len(cells)} of the grid's {n_cells} cells are selected")
    check_priority(options.priority or ())
    return Chosen(cells, options.priority or grid.priority)


def write_grid(path: str, options: argparse.Namespace, gpus: float, where: str, console: Console) -> None:
    """Write the grid that the options name as a file for `--grid`.

    Raises:
        ValueError: see `choose_cells`, or the file cannot be written.
    """
    grid = _grid(options, gpus, where, console)
    blocks = tuple(replace(block, **overrides(options)) for block in grid.preset.blocks)
    text = preset_to_toml(
        replace(grid.preset, blocks=blocks), only=options.only or grid.only, priority=options.priority or grid.priority
    )
    try:
        with whole_file(path) as temporary:
            temporary.write_text(text, "utf-8")
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from error
    speak(console, f"wrote {path}; {options.program} --grid {shlex.quote(path)} runs it")


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of Block that the options replace, with the new values."""
    chosen: dict[str, Any] = {
        name: value for name in ("network", "epochs", "n_train") if (value := getattr(options, name)) is not None
    }
    axes = {name: tuple(value) for name in axis_options() if (value := getattr(options, name)) is not None}
    chosen |= {name: values for name, values in axes.items() if name in AXES}
    if others := {name: values for name, values in axes.items() if name not in AXES}:
        chosen["other_axes"] = others
    if options.labels_per_item is not None:
        sparse = [name for name, kind in ASSIGNMENTS.items() if "labels_per_item" in kind.__dataclass_fields__]
        chosen["assignment_options"] = {name: {"labels_per_item": options.labels_per_item} for name in sparse}
    return chosen


def with_options(cells: Sequence[Cell], options: MethodOptions) -> list[Cell]:
    """Return the cells with the options of methods and the recipes that an options file sets."""
    changed = []
    for cell in cells:
        chosen = {**dict(cell.method_options), **options.methods.get(cell.method, {})}
        training = cell.training
        if training is not None:
            training = replace(training, recipe=options.recipe(cell.dataset, training.recipe))
        changed.append(replace(cell, method_options=tuple(chosen.items()), training=training))
    return list({cell.id: cell for cell in changed}.values())


def _grid(options: argparse.Namespace, gpus: float, where: str, console: Console) -> GridFile:
    if options.grid is not None:
        if options.preset is not None:
            raise ValueError("--preset and --grid both name a grid; give only one of them")
        speak(console, f"grid {options.grid}")
        return read_grid(options.grid, allow_imports=options.allow_imports)
    if options.preset is not None:
        speak(console, f"preset {check_name('preset', options.preset, PRESETS)}")
        return GridFile(PRESETS[options.preset])
    name = "paper" if gpus else "laptop"
    found = f"{gpus:g} GPU{'s' if gpus > 1 else ''}" if gpus else "no GPU"
    speak(console, f"preset {name}: {where} has {found}; choose another with --preset")
    return GridFile(PRESETS[name])
