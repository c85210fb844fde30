"""Which cells a command line means: of a preset or a grid file, with axes and options replaced, all or some."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape

from crowdml.cli.sweeping.sweep_options import overrides
from crowdml.experiment.cell import Cell
from crowdml.support.names import check_name
from sweeps.grid.grid_file import GridFile, read_grid
from sweeps.grid.grid_text import preset_to_toml
from sweeps.grid.options_file import MethodOptions, read_options
from sweeps.grid.presets import PRESETS
from sweeps.grid.selection import select


class Chosen(NamedTuple):
    """The cells of a grid, and what of them comes first; see `sweeps.grid.selection.order`."""

    cells: list[Cell]
    priority: Sequence[str]


def choose_cells(options: argparse.Namespace, gpus: float, where: str, console: Console) -> Chosen:
    """The cells of the grid that the options name.

    Args:
        options: of the command line.
        gpus: how many there are; without a preset they decide which it is.
        where: they are, in words.
        console: is told what was chosen.

    Raises:
        ValueError: an unknown name, a value out of range, a bad file, or a selection that holds for no cell.
    """
    grid = _grid(options, gpus, where, console)
    cells = grid.cells(overrides(options))
    if options.method_options is not None:
        cells = with_options(cells, read_options(options.method_options))
    if options.only is not None:
        n_cells = len(cells)
        cells = select(cells, options.only)
        if not cells:
            raise ValueError(f"--only {options.only!r} holds for none of the {n_cells} cells of the grid")
        console.print(f"{len(cells)} of the grid's {n_cells} cells are selected", highlight=False)
    return Chosen(cells, options.priority or grid.priority)


def write_grid(path: str, options: argparse.Namespace, gpus: float, where: str, console: Console) -> None:
    """Write the grid that the options name, their axes in it, as a file that `--grid` takes.

    Raises:
        ValueError: see `choose_cells`; or the file cannot be written.
    """
    grid = _grid(options, gpus, where, console)
    blocks = tuple(replace(block, **overrides(options)) for block in grid.preset.blocks)
    text = preset_to_toml(
        replace(grid.preset, blocks=blocks), only=options.only or grid.only, priority=options.priority or grid.priority
    )
    try:
        Path(path).write_text(text, "utf-8")
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from error
    console.print(f"wrote {path}; python sweeps/full_grid.py --grid {path} runs it", highlight=False, soft_wrap=True)


def with_options(cells: Sequence[Cell], options: MethodOptions) -> list[Cell]:
    """The cells with the methods' options and the data sets' recipes that a file holds, where it holds them."""
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
            raise ValueError("--preset and --grid are two grids; give one of them")
        console.print(f"grid [bold]{escape(options.grid)}[/]", highlight=False)
        return read_grid(options.grid, allow_imports=options.allow_imports)
    name = options.preset
    if name is not None:
        reason = "as asked for"
    elif gpus:
        name, reason = "paper", f"{where} has {gpus:g} GPU{'s' if gpus > 1 else ''}; choose another with --preset"
    else:
        name, reason = "laptop", f"{where} has no GPU; choose another with --preset"
    check_name("preset", name, PRESETS)
    console.print(f"preset [bold]{escape(name)}[/]: {reason}", highlight=False)
    return GridFile(PRESETS[name])
