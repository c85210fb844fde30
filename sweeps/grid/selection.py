"""Choose cells by an expression on the axes (its language: `sweeps.grid.expressions`), and rank them by axes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from crowdml.experiment.cell import Cell
from crowdml.support.names import UnknownNameError, check_name
from sweeps.grid.expressions import SelectionError, holds
from sweeps.store.schema import AXES, REAL, TEXT, WHOLE


def select(cells: Sequence[Cell], expression: str) -> list[Cell]:
    """The cells for which the expression holds, in their order.

    Args:
        cells: to choose from.
        expression: such as `method == "labnet" and n_workers > 3`; see `sweeps.grid.expressions`.

    Raises:
        SelectionError: it is no such expression.
    """
    chosen = holds(expression, lambda axis: _column(cells, axis))
    return [cell for cell, is_chosen in zip(cells, chosen, strict=True) if is_chosen]


def order(cells: Sequence[Cell], priority: Sequence[str]) -> list[int]:
    """The rank of each cell, 0 first; cells that the priority does not tell apart have the same rank.

    Args:
        cells: to be ranked.
        priority: axes, the most important first: `seed` (small values first), `-n_workers` (large values first) or
            `method=labnet,em` (these first, in this order, then all others).  A cell without a value comes last.

    Raises:
        SelectionError: an unknown axis, or a value that is none of its.
    """
    columns = [_places(cells, criterion) for criterion in priority]
    keys = list(zip(*columns, strict=True)) if columns else [()] * len(cells)
    rank = {key: number for number, key in enumerate(sorted(set(keys)))}
    return [rank[key] for key in keys]


def check_priority(priority: Sequence[str]) -> None:
    """Raise SelectionError where `order` would."""
    order((), priority)


def _column(cells: Sequence[Cell], axis: str) -> pd.Series:
    values = _values(cells, axis)
    return pd.Series(values, dtype="str" if AXES[axis] == TEXT else "float64")


def _values(cells: Sequence[Cell], axis: str) -> list[Any]:
    """The axis as the results table has it; made a column at a time, for a whole row a cell takes far longer."""
    values = [getattr(cell, axis) for cell in cells]
    if axis == "recipe":
        return [None if value is None else json.dumps(value.to_dict(), sort_keys=True) for value in values]
    if axis.endswith("_options"):
        return [json.dumps(dict(value), sort_keys=True) for value in values]
    return values


def _places(cells: Sequence[Cell], criterion: str) -> list[int]:
    """The place of each cell by one criterion."""
    axis, equals, listed = criterion.partition("=")
    falling = axis.startswith("-")
    axis = axis.removeprefix("-")
    try:
        check_name("axis", axis, AXES)
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
    kind = {WHOLE: int, REAL: float}.get(AXES[axis], str)
    try:
        return kind(text.strip())
    except ValueError:
        raise SelectionError(f"priority {criterion!r}: {axis} is a number, got {text!r}") from None
