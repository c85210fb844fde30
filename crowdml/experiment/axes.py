"""Axes: each field of a cell is declared once, by `axis`.

Columns, ids, filters, tables, help texts and the checks of values all derive from that declaration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from numbers import Real
from typing import Any

import numpy as np

from crowdml.learning.recipe import Recipe
from crowdml.support.names import near_names

Options = tuple[tuple[str, Any], ...]
"""Options as sorted (name, value) pairs, so that they can be hashed."""

FEWEST, MOST = -(2**63), 2**63 - 1
"""The smallest and the largest whole number of a column."""
MOST_ITEMS = 2**31 - 1
"""The most items and workers; arrays number them with 32 bits."""
_EXACT = 2**53  # whole floats below it are exact
_DEEPEST = 8
_WIDTH = 200
_REFUSALS = (ValueError, TypeError, OverflowError, AttributeError)
"""Exceptions by which code refuses options."""


class CellError(ValueError):
    """A value that a cell cannot have.

    Args:
        field: name of the column; `worker_options.alpha` is one option of the column `worker_options`.
        value: the refused value.
        reason: what the value must be, such as "must be at least 1".
    """

    def __init__(self, field: str, value: Any, reason: str) -> None:
        super().__init__(field, value, reason)
        self.field, self.value, self.reason = field, value, reason

    def __str__(self) -> str:
        return f"{self.field} {self.reason}, got {_shown(self.value)}"


class OptionError(CellError):
    """A value that a method, pattern or other code refuses; `reason` is the whole message of that code."""

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class Kind(Enum):
    """The type of the values of an axis."""

    TEXT = "text"
    WHOLE = "a whole number"
    NUMBER = "a number"
    OPTIONS = "options"
    RECIPE = "a recipe"

    @property
    def is_json(self) -> bool:
        """Whether a column stores the values as JSON text."""
        return self in (Kind.OPTIONS, Kind.RECIPE)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What a field of a cell declares.

    Args:
        kind: type of the values.
        help: one line for help texts.
        names: the valid values of a text; empty if the axis does not check the values.
        at_least: the smallest valid number.
        below: every valid number is smaller than this number.
        most: the largest valid whole number.
        panel: whether results with different values go into different tables; tables never average over such an axis.
        costs: whether the running time of a cell depends on the value.
        draws: whether the seed of the crowd depends on the value.  False for sizes, so that the crowd of 3 workers is
            the first 3 workers of the crowd of 12.
        follows: another axis whose value usually decides the value here; the options of a pattern follow the pattern.
        plural: name of the list of values in a grid; None if a grid has no such list.
        unit: a word after the value in the title of a table.
    """

    kind: Kind
    help: str
    names: tuple[str, ...] = ()
    at_least: float | None = None
    below: float | None = None
    most: int = MOST
    panel: bool = True
    costs: bool = True
    draws: bool = True
    follows: str | None = None
    plural: str | None = None
    unit: str = ""

    def checked(self, name: str, value: Any) -> Any:
        """Check a value and return it in the form that a cell stores.

        Raises:
            CellError: the value has another type, is out of range, or is an unknown name.
        """
        match self.kind:
            case Kind.OPTIONS:
                return _freeze_options(name, value)
            case Kind.TEXT:
                if not isinstance(value, str):
                    raise CellError(name, value, "must be text")
                if self.names and value not in self.names:
                    raise CellError(name, value, must_be_one_of(value, self.names))
                if not value or not value.isprintable():
                    raise CellError(name, value, "must be a text with at least one character and no control character")
            case Kind.WHOLE | Kind.NUMBER:
                value = self._number(name, value)
                self._check_range(name, value)
            case Kind.RECIPE if not isinstance(value, Recipe):
                raise CellError(name, value, "must be a recipe")
        return value

    def _number(self, name: str, value: Any) -> int | float:
        """Return a number in the only form that a cell stores, so that equal values give one id."""
        if not _is_number(value):
            raise CellError(name, value, f"must be {self.kind.value}")
        try:
            number = int(value) if self.kind is Kind.WHOLE else float(value) + 0.0  # -0.0 becomes 0.0
        except (ValueError, OverflowError) as error:
            raise CellError(name, value, f"must be {self.kind.value}") from error
        if number != value and self.kind is Kind.WHOLE:
            raise CellError(name, value, "must be a whole number")
        if not (isinstance(number, int) or math.isfinite(number)):
            raise CellError(name, value, f"must be {self.kind.value}")
        return number

    def _check_range(self, name: str, value: float) -> None:
        low, high = self.at_least, self.below
        if self.kind is Kind.WHOLE and value > self.most:
            raise CellError(name, value, f"must be at most {self.most}")
        if (low is None or value >= low) and (high is None or value < high):
            return
        if low is not None and high is not None:
            raise CellError(name, value, f"must be in [{low:g}, {high:g})")
        raise CellError(name, value, f"must be below {high:g}" if low is None else f"must be at least {low:g}")


def axis(kind: Kind, help: str, *, default: Any = MISSING, **facts: Any) -> Any:
    """Declare a field of a cell; `facts` are further fields of Axis.

    A default never changes, because ids and seeds leave out values that equal their default.
    """
    return field(default=default, metadata={"axis": Axis(kind=kind, help=help, **facts)})


def same_axis(owner: type, name: str, **changes: Any) -> Any:
    """Declare a field like the field of another class; `changes` may hold another `default`."""
    declared = next(item for item in fields(owner) if item.name == name)
    return field(**{"default": declared.default, "metadata": declared.metadata, **changes})


def check_axes(owner: Any) -> None:
    """Check every declared field of a frozen dataclass and bring its value into the form that a cell stores.

    Raises:
        CellError: see `Axis.checked`.
    """
    for item in fields(owner):
        declared: Axis | None = item.metadata.get("axis")
        value = getattr(owner, item.name)
        if declared is not None and not (value is None and item.default is None):
            object.__setattr__(owner, item.name, declared.checked(item.name, value))


def check_made(column: str, options: Options, make: Callable[[dict[str, Any]], Any]) -> None:
    """Check options by calling `make`, which raises a ValueError, TypeError or the like if it refuses them.

    Raises:
        OptionError: `make` refuses the options.  The error names one option if there is only one, or if `make` accepts
            the others without it; else the error names the whole column.
    """
    given = dict(options)
    try:
        make(given)
    except _REFUSALS as error:
        reason = " ".join(str(error).split())
        for name, value in given.items():
            if len(given) == 1 or _accepts(make, {other: given[other] for other in given if other != name}):
                raise OptionError(f"{column}.{name}", value, reason) from error
        raise OptionError(column, given, reason) from error


def must_be_one_of(value: str, names: Sequence[str]) -> str:
    """Return the reason for a refused name: the valid names, and those that resemble the value."""
    near = near_names(value, names)
    return f"must be one of {', '.join(names)}{f' (did you mean {near}?)' if near else ''}"


def _accepts(make: Callable[[dict[str, Any]], Any], options: dict[str, Any]) -> bool:
    try:
        make(options)
    except _REFUSALS:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def _freeze_options(name: str, options: Any) -> Options:
    """Return options as sorted pairs of a name and a value that JSON can hold."""
    pairs = list(options.items()) if isinstance(options, Mapping) else options
    if not isinstance(pairs, (tuple, list)):
        raise CellError(name, options, "must be options by name")
    frozen: dict[str, Any] = {}
    for pair in pairs:
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise CellError(name, options, "must be options by name")
        option = str(pair[0])
        if not option or not option.isprintable():
            raise CellError(name, options, "must have names without control characters")
        if option in frozen:
            raise CellError(f"{name}.{option}", pair[1], "must be given once")
        frozen[option] = _freeze(f"{name}.{option}", pair[1], depth=0)
    return tuple(sorted(frozen.items()))


def _freeze(name: str, value: Any, *, depth: int) -> Any:
    """Return the value of an option in the only form that a cell stores, so that equal options give one id."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not value.isprintable():
            raise CellError(name, value, "must be text without control characters")
        return str(value)
    if isinstance(value, (list, tuple)) and depth < _DEEPEST:
        return tuple(_freeze(name, part, depth=depth + 1) for part in value)
    if isinstance(value, int) and FEWEST <= value <= MOST:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) < _EXACT else float(value)
    raise CellError(name, value, "must be a text, a finite number of 64 bits, true, false, none, or a list of these")


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # Python does not print a number of thousands of digits; a class of a user may raise anything
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."
