"""Find the field of a block that is to blame if its cells cannot be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from crowdml.experiment.axes import CellError, OptionError
from crowdml.experiment.cell import check_options
from sweeps.grid.grids import AXES, Block
from sweeps.grid.toml_values import Place, TomlError

AXES_OF_BLOCKS = (
    "datasets", "patterns", "noise_rates", "workers", "missing_rates", "worker_models", "assignments", "methods",
    "seeds",
)  # fmt: skip
OPTIONS = {
    "method_options": "methods", "pattern_options": "patterns", "worker_options": "worker_models",
    "assignment_options": "assignments",
}  # fmt: skip
"""Field of options by name -> the axis that holds the names."""

_AXIS_OF = {name: axis for axis, name in AXES.items()}


def check_block(block: Block, given: Mapping[str, Any], place: Place) -> None:
    """Raise TomlError at the field to blame if a cell of the block cannot be made or refuses its options.

    Args:
        block: the block to check.
        given: the fields of the block that the file names.
        place: the place of the block in the file.
    """
    error = _error_of(block)
    if error is None:
        return
    field, _, option = error.field.partition(".")
    axis = OPTIONS.get(field) or _AXIS_OF.get(field)
    reason = error.reason if isinstance(error, OptionError) else f"{error.reason}, got {error.value!r}"
    if axis is None:
        raise TomlError((*place, field) if field in given else place, reason)
    for index, value in enumerate(getattr(block, axis)):
        found = _error_of(replace(block, **{axis: (value,)}))
        if found is not None and found.field == error.field:
            if option and option in given.get(field, {}).get(value, {}):
                raise TomlError((*place, field, value, option), reason)
            raise TomlError((*place, axis, index) if axis in given else place, reason)
    raise TomlError(place, str(error))


def _error_of(block: Block) -> CellError | None:
    """Return the error of the first cell that cannot be made or refuses its options."""
    try:
        for cell in {
            (cell.dataset, cell.crowd, cell.method, cell.method_options): cell for cell in block.cells()
        }.values():
            check_options(cell)
    except CellError as error:
        return error
    return None
