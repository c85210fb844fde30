"""What TOML holds as what a dataclass wants, by its type hints; TOML has no None, which is written "none"."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from crowdml.support.names import UnknownNameError, check_name

Place = tuple[str | int, ...]

NONE = "none"
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class TomlError(ValueError):
    """Something in a TOML document that cannot be used.

    Attributes:
        place: keys and indices that lead to it.
        reason: what is wrong with it.
    """

    def __init__(self, place: Place, reason: str) -> None:
        super().__init__(reason)
        self.place, self.reason = place, reason


def fields_of(kind: type, table: Any, place: Place, *, also: Iterable[str] = ()) -> dict[str, Any]:
    """Field -> value of a dataclass, of those that a table names.

    Args:
        kind: a dataclass; its fields are texts, numbers, truth values, None, tuples of these, options by name, and
            other dataclasses.
        table: what tomllib made of the table.
        place: where it stands.
        also: keys that the table may have besides; they are left out.

    Raises:
        TomlError: an unknown key, a missing one, or a value of the wrong type.
    """
    if not isinstance(table, dict):
        raise TomlError(place, f"must be a table, got {table!r}")
    hints = get_type_hints(kind)
    known = [item.name for item in fields(kind)]
    for key in table:
        try:
            check_name("key", key, [*known, *also])
        except UnknownNameError as error:
            raise TomlError((*place, key), str(error)) from None
    return {key: convert(value, hints[key], (*place, key)) for key, value in table.items() if key in known}


def required_of(kind: type) -> list[str]:
    """The fields of a dataclass that have no default."""
    return [item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING]


def convert(value: Any, hint: Any, place: Place) -> Any:
    """The value as a type hint asks for it.

    Raises:
        TomlError: it is of another type.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if value == NONE else convert(value, next(part for part in parts if part is not NoneType), place)
    if origin is Literal:
        if value not in parts:
            raise TomlError(place, f"must be one of {', '.join(map(repr, parts))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise TomlError(place, f"must be a list, got {value!r}; write [{_shown(value)}]")
        return tuple(convert(part, parts[0], (*place, index)) for index, part in enumerate(value))
    if origin is Mapping:
        return _options(value, place)
    if hint in _WORDS:
        return _scalar(value, hint, place)
    return _made(hint, value, place)


def _scalar(value: Any, kind: type, place: Place) -> Any:
    # Python takes True for 1.
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise TomlError(place, f"must be {_WORDS[kind]}, got {_shown(value)}")
    if kind is float and not math.isfinite(value):
        raise TomlError(place, f"must be a finite number, got {value}")
    return value


def _made(kind: type, table: Any, place: Place) -> Any:
    given = fields_of(kind, table, place)
    try:
        return kind(**given)
    except ValueError as error:
        # Its message begins with the field, perhaps with the dataclass's name before it.
        first, _, rest = str(error).partition(" ")
        name = first.rpartition(".")[2]
        reason = rest if rest.startswith("must ") else str(error)
        raise TomlError((*place, name) if name in given else place, reason) from None


def _options(value: Any, place: Place) -> dict[str, dict[str, Any]]:
    """Name -> its options: a table of tables of texts, numbers, truth values and lists of them."""
    if not isinstance(value, dict):
        raise TomlError(place, f"must be a table of options by name, got {_shown(value)}")
    for name, options in value.items():
        if not isinstance(options, dict):
            raise TomlError((*place, name), f"must be a table of options, got {_shown(options)}")
        for option, content in options.items():
            _check_option(content, (*place, name, option))
    return value


def _check_option(value: Any, place: Place) -> None:
    if isinstance(value, list):
        for index, part in enumerate(value):
            _check_option(part, (*place, index))
    elif not isinstance(value, (str, int, float)):
        raise TomlError(place, f"must be a text, a number, true, false or a list of these, got {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)
