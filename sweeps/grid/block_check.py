"""Whether a block's cells can be made and their options are understood, and if not, which of its fields is to blame."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from crowdml import methods
from crowdml.experiment.cell import MACHINES, REAL, Cell
from crowdml.noise import make_pattern
from sweeps.grid.grids import Block
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

# What errors of a cell call the fields of a block.
_CALLED = {
    "noise_rates": ("noise_rate",),
    "missing_rates": ("missing_rate",),
    "workers": ("n_workers",),
    "seeds": ("seed",),
    "n_train": ("n_train",),
    "epochs": ("recipe.epochs",),
    "datasets": ("data set", "real crowd"),
    "patterns": ("noise pattern", "pattern"),
    "worker_models": ("worker model", "worker_model"),
    "assignments": ("assignment",),
    "methods": ("method", "label source", "learner"),
    "network": ("network",),
    "missing": ("missing rule", "missing"),
}


def check_block(block: Block, given: Mapping[str, Any], place: Place) -> None:
    """Raise TomlError at the field to blame where a cell of the block cannot be made or has options not understood.

    Args:
        block: to be checked.
        given: those of its fields that the file names; only they are blamed.
        place: where the block stands in the file.
    """
    error = _error_of(block)
    if error is None:
        return
    single, index = _narrowed(block, error)
    # What a message lists at its end are names that there are, not the one that is wrong.
    head = error.partition(" (there are: ")[0]
    found = _blamed_option(single, given, head) or _blamed_field(given, head) or _blamed_value(single, given, head)
    if found is None:
        raise TomlError(place, error)
    where, word = found
    reason = error.removeprefix(f"{word} ") if word else error
    position = (index[where[0]],) if len(where) == 1 and where[0] in index else ()
    raise TomlError((*place, *where, *position), reason)


def _error_of(block: Block) -> str | None:
    """What is wrong with the block's cells, the first thing found."""
    try:
        cells = block.cells()
        for name, options, labels_only in dict.fromkeys(map(_method_of, cells)):
            if options:
                methods.resolve(name, dict(options), labels_only=labels_only)
        for name, rate, dataset, options in dict.fromkeys(map(_pattern_of, cells)):
            if name not in (REAL, MACHINES):
                make_pattern(name, rate, dataset, dict(options))
    except (ValueError, TypeError) as error:
        return " ".join(str(error).split())
    return None


def _method_of(cell: Cell) -> tuple[str, Any, bool]:
    return cell.method, cell.method_options, cell.network is None


def _pattern_of(cell: Cell) -> tuple[str, Any, str, Any]:
    return cell.pattern, cell.noise_rate, cell.dataset, cell.pattern_options


def _narrowed(block: Block, error: str) -> tuple[Block, dict[str | int, int]]:
    """The block with one value an axis that still has the error, and the index of each value."""
    index: dict[str | int, int] = {}
    for axis in AXES_OF_BLOCKS:
        for number, value in enumerate(getattr(block, axis)):
            narrower = replace(block, **{axis: (value,)})
            if _error_of(narrower) == error:
                block, index[axis] = narrower, number
                break
    return block, index


def _blamed_option(single: Block, given: Mapping[str, Any], message: str) -> tuple[Place, str] | None:
    """An option of the one combination left that the message names."""
    options = {
        option: (field, name, option)
        for field, axis in OPTIONS.items()
        for name in getattr(single, axis)
        for option in given.get(field, {}).get(name, {})
    }
    return min(
        ((where, option) for option, where in options.items() if _found(option, message) is not None),
        key=lambda found: _found(found[1], message) or 0,
        default=None,
    )


def _blamed_field(given: Mapping[str, Any], message: str) -> tuple[Place, str] | None:
    """The field given that the message names first."""
    found = [
        (position, -len(word), field, word)
        for field, words in _CALLED.items()
        for word in words
        if field in given and (position := _found(word, message)) is not None
    ]
    if not found:
        return None
    _, _, field, word = min(found)
    return (field,), word


def _blamed_value(single: Block, given: Mapping[str, Any], message: str) -> tuple[Place, str] | None:
    """The axis given whose one value left the message names."""
    for axis in AXES_OF_BLOCKS:
        if axis in given and _found(str(getattr(single, axis)[0]), message) is not None:
            return (axis,), ""
    return None


def _found(word: str, message: str) -> int | None:
    match = re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", message)
    return None if match is None else match.start()
