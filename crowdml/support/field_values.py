"""Check the values that users give for the fields of a dataclass, and convert NumPy scalars to plain Python values.

The type hint of a field says what it takes: bool, int, float, str, Literal, tuples and sequences of these, or a union.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

LARGEST = 1e15
"""The largest absolute value of a real number; added to such a pseudo-count, a count of one is not lost in float64."""
LARGEST_WHOLE = 2**63 - 1
"""The largest absolute value of a whole number that is no seed, the limit of 64 bits."""
N_SEEDS = 2**64
"""Seeds are below this number, the limit of torch."""


class FieldError(ValueError):
    """A field has a wrong value; `field` is its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field, self.message = field, message

    def __str__(self) -> str:
        return self.message


def convert_fields(options: Any, prefix: str = "") -> None:
    """Convert the fields of a frozen dataclass to the types of their hints, in place.

    A whole number becomes a float where the hint is float, a list becomes a tuple, and a NumPy scalar becomes a plain
    value.  Real numbers must be in ±LARGEST.  A field with another kind of hint is left unchanged.

    Args:
        options: an instance of the dataclass.
        prefix: text before the name of the field in the message.

    Raises:
        FieldError: a value is of another type or out of range.
    """
    for name, hint in _hints(type(options)):
        value = getattr(options, name)
        plain = check_seed(value, prefix) if name == "seed" else converted(value, hint, prefix + name)
        object.__setattr__(options, name, plain)


def check_seed(value: object, prefix: str = "") -> int:
    """Return a seed as a plain whole number.

    Raises:
        FieldError: the value is not a whole number in [0, 2^64).
    """
    plain = _plain(value)
    if not isinstance(plain, int) or isinstance(plain, bool) or not 0 <= plain < N_SEEDS:
        raise FieldError("seed", f"{prefix}seed must be a whole number in [0, 2^64), got {_shown(value)}")
    return plain


def converted(value: object, hint: Any, name: str) -> Any:
    """Return a value as the type of a hint; see `convert_fields`.

    Raises:
        FieldError: the value is of another type or out of range; the message names it by `name`.
    """
    try:
        return _converted(_plain(value), hint)
    except _UnfitError as error:
        raise FieldError(name, f"{name} must be {_wanted(hint)}, got {_shown(value)}") from error


def as_json(value: object) -> Any:
    """Return a value as plain values for JSON: NumPy values and tuples are converted, other objects become text."""
    return json.loads(json.dumps(value, default=lambda odd: odd.tolist() if hasattr(odd, "tolist") else str(odd)))


class _UnfitError(Exception):
    """A value does not have the type of a hint."""


@cache
def _hints(kind: type) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind)
    return tuple((item.name, hints[item.name]) for item in fields(kind) if item.init)


def _plain(value: object) -> object:
    """Return a NumPy scalar, or an array without dimensions, as a plain Python value."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    return float(value) if isinstance(value, np.floating) else value  # a long double stays a NumPy scalar


def _converted(value: object, hint: Any) -> object:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _first_fit(value, get_args(hint))
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in get_args(hint)):
            raise _UnfitError
        return value
    if origin in (tuple, Sequence):
        return _members(value, get_args(hint))
    if hint is NoneType:
        if value is not None:
            raise _UnfitError
        return None
    if hint is int:
        return _checked(value, (int,), LARGEST_WHOLE)
    if hint is float:
        return float(_checked(value, (int, float), LARGEST))
    if hint in (bool, str) and not isinstance(value, hint):
        raise _UnfitError
    return value


def _checked(value: Any, types: tuple[type, ...], largest: float) -> Any:
    is_number = isinstance(value, types) and not isinstance(value, bool)
    if not is_number or not abs(value) <= largest:  # NaN is not below anything
        raise _UnfitError
    return value


def _first_fit(value: object, hints: Iterable[Any]) -> object:
    for hint in hints:
        try:
            return _converted(value, hint)
        except _UnfitError:
            continue
    raise _UnfitError


def _members(value: object, hints: tuple[Any, ...]) -> tuple[object, ...]:
    if not isinstance(value, list | tuple | np.ndarray):
        raise _UnfitError
    members = [_plain(member) for member in value]
    repeated = len(hints) == 1 or hints[-1] is Ellipsis
    if not repeated and len(members) != len(hints):
        raise _UnfitError
    wanted = [hints[0]] * len(members) if repeated else hints
    return tuple(_converted(member, hint) for member, hint in zip(members, wanted, strict=True))


def _wanted(hint: Any, *, several: bool = False) -> str:
    """Return what a hint takes, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_wanted(part) for part in arguments)
    if origin is Literal:
        quoted = [f'"{choice}"' for choice in arguments]
        return " or ".join(quoted) if len(quoted) < 3 else f"one of {', '.join(quoted)}"
    if origin in (tuple, Sequence):
        if len(arguments) == 1 or arguments[-1] is Ellipsis:
            return f"{'lists' if several else 'a list'} of {_wanted(arguments[0], several=True)}"
        return f"a list of {len(arguments)} {_wanted(arguments[0], several=True)}"
    words = {
        int: ("a whole number", "whole numbers"), float: ("a number in ±1e15", "numbers in ±1e15"),
        bool: ("true or false", "true or false"), str: ("a text", "texts"), NoneType: ("None", "None"),
    }  # fmt: skip
    return words[hint][several] if hint in words else str(hint)


def _shown(value: object) -> str:
    """Return a short text of the value on one line."""
    if isinstance(value, int) and abs(value) > 10**30:
        return f"a number of {value.bit_length()} bits"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # Python does not print very long numbers, and an object of the user may raise anything
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
