"""Find the axis or the option that causes the error when the cells of a block cannot be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from crowdml.experiment.axes import CellError
from crowdml.experiment.cell import Cell, check_options
from crowdml.experiment.crowd_types import Simulated
from sweeps.grid.grids import AXES, OPTIONS, Block
from sweeps.grid.toml_file import Place, Problem, error_text

_AXIS_OF = {field: axis for axis, field in AXES.items()}
OPTION_AXES = {field: _AXIS_OF[named] for field, named in OPTIONS.items()}
"""Field of a block with options by name -> the axis that holds the names."""


def check_block(block: Block, given: Mapping[str, Any], place: Place) -> list[Problem]:
    """Return the places of the values, options or field that make a cell impossible, and the reasons.

    If an axis has wrong values, all of them are returned, and the other axes are not checked.

    Args:
        given: the fields of the block that the file names, with their values.
        place: the place of the block in the file.
    """
    error = _error_of(block)
    if error is None:
        return []
    field = error.field.partition(".")[0]
    axis = OPTION_AXES.get(field) or _AXIS_OF.get(field)
    if axis is None:
        inner = ("other_axes", field) if field in given.get("other_axes", {}) else (field,)
        return [((*place, *inner), error_text(error)) if inner[0] in given else (place, str(error))]
    problems: list[Problem] = []
    for index, value in enumerate(getattr(block, axis)):
        found = _error_of(replace(block, **{axis: (value,)}))
        if found is None or found.field.partition(".")[0] != field:
            continue
        option = found.field.partition(".")[2]
        if value in given.get(field, {}):
            problems.append(((*place, field, value, *([option] if option else [])), error_text(found)))
        else:
            # An index helps only if the file lists several values of the axis.
            at = [index] if len(given.get(axis, ())) > 1 else []
            problems.append(((*place, axis, *at), error_text(found)))
    return problems or [((*place, axis), error_text(error))]


def _error_of(block: Block) -> CellError | None:
    """Return the error of the first cell that cannot be made or does not take its options.

    A seed is valid with all other values or with none.  So one seed is tried with all other values, and all seeds with
    one value per other axis: a few cells instead of all cells per seed.
    """
    one_each = {axis: getattr(block, axis)[:1] for axis in AXES if axis != "seeds"}
    one_each["other_axes"] = {name: values[:1] for name, values in block.other_axes.items()}
    checked = set()
    try:
        for cell in replace(block, seeds=block.seeds[:1]).cells():
            # In one block, these names determine the options, so each combination is checked once.
            options = {(cell.method, cell.training is None), (cell.dataset, *_pattern_of(cell))}
            if not options <= checked:
                check_options(cell)
                checked |= options
        replace(block, **one_each).cells()
    except CellError as error:
        return error
    return None


def _pattern_of(cell: Cell) -> tuple[str, float | None]:
    return cell.crowd.pattern, cell.crowd.noise_rate if isinstance(cell.crowd, Simulated) else None
