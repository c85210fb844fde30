"""Select cells by an expression (see `sweeps.grid.expressions`), and rank cells by their axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from crowdml.experiment.axes import Kind
from crowdml.experiment.cell import COLUMNS, Cell
from crowdml.support.names import UnknownNameError, check_name
from sweeps.grid.expressions import SelectionError, holds, is_number


def select(cells: Sequence[Cell], expression: str) -> list[Cell]:
    """Return the cells, in their order, for which an expression holds, such as `method == "em" and n_workers > 3`.

    Raises:
        SelectionError: the text is not an expression of the language.
    """
    chosen = holds(expression, lambda axis: _column(cells, axis))
    return [cell for cell, is_chosen in zip(cells, chosen, strict=True) if is_chosen]


def order(cells: Sequence[Cell], priority: Sequence[str]) -> list[int]:
    """Return the rank of each cell; rank 0 comes first, and cells that the priority treats alike have the same rank.

    Args:
        priority: axes, the most important first: `seed` (small values first), `-n_workers` (large values first) or
            `method=labnet,em` (these values first, in this order, then all others).  A cell without a value comes last.

    Raises:
        SelectionError: an unknown axis, or a value that the axis cannot have.
    """
    columns = [_places(cells, criterion) for criterion in priority]
    keys = list(zip(*columns, strict=True)) if columns else [()] * len(cells)
    rank = {key: number for number, key in enumerate(sorted(set(keys)))}
    return [rank[key] for key in keys]


def check_priority(priority: Sequence[str]) -> None:
    """Raise SelectionError if `order` cannot use the priority."""
    order((), priority)


def _column(cells: Sequence[Cell], axis: str) -> pd.Series:
    values = _values(cells, axis)
    return pd.Series(values, dtype="float64" if is_number(axis) else "str")


def _values(cells: Sequence[Cell], axis: str) -> list[Any]:
    """Return the stored values of an axis; making one column at a time is faster than whole rows."""
    column = COLUMNS[axis]
    return [column.store(column.value(cell)) for cell in cells]


def _places(cells: Sequence[Cell], criterion: str) -> list[int]:
    """Return the place of each cell by one criterion."""
    axis, equals, listed = criterion.partition("=")
    falling = axis.startswith("-")
    axis = axis.removeprefix("-")
    try:
        check_name("axis", axis, COLUMNS)
    except UnknownNameError as error:
        raise SelectionError(f"priority {criterion!r}: {error}") from None
    if equals and (falling or not listed):
        raise SelectionError(f"priority {criterion!r}: write axis, -axis or axis=value,value")
    values = _values(cells, axis)
    if equals:
        first = [_value_of(axis, text, criterion) for text in listed.split(",")]
        return [first.index(value) if value in first else len(first) for value in values]
    present = sorted({value for value in values if value is not None}, reverse=falling)
    place = {value: number for number, value in enumerate(present)}
    return [place.get(value, len(present)) for value in values]


def _value_of(axis: str, text: str, criterion: str) -> str | int | float:
    kind = {Kind.WHOLE: int, Kind.NUMBER: float}.get(COLUMNS[axis].axis.kind, str)
    try:
        return kind(text.strip())
    except ValueError:
        raise SelectionError(f"priority {criterion!r}: {axis} must be a number, got {text!r}") from None
