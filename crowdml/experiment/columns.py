"""Convert a cell to the columns of a row and back, as the fields of the cell declare.

A cell has *values*: options are pairs, and a recipe is a Recipe.  A row has *stored* values: options and recipes are
JSON text.  The value of a field that the cell lacks, such as the noise rate of real workers, is None.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache, lru_cache
from typing import Any

from crowdml.experiment.axes import Axis, CellError, Kind
from crowdml.learning.recipe import Recipe


@dataclass(frozen=True)
class Parts:
    """The declaration of a field of a cell that holds further fields.

    Args:
        by: the column whose value chooses the type of the field.
        choose: value of that column -> the type, or None if the cell lacks the field.
        types: all types; `has` of a type begins a sentence about the type, such as "real workers have".
    """

    by: str
    choose: Callable[[Any], type | None]
    types: tuple[type, ...]


def parts(by: str, choose: Callable[[Any], type | None], *types: type, **default: Any) -> Any:
    """Declare a field of a cell that holds further fields; see Parts."""
    return field(metadata={"parts": Parts(by, choose, types)}, **default)


@dataclass(frozen=True)
class Column:
    """A column of the results that stores one field of a cell.

    Args:
        name: name of the column and of the field.
        axis: the declaration of the field.
        default: default of the field; None if the field has no default.
        required: whether the field has no default.
        part: "training" or "crowd" if that part of the cell holds the field; None if the cell itself does.
    """

    name: str
    axis: Axis
    default: Any
    required: bool
    part: str | None

    def value(self, cell: Any) -> Any:
        """Return the value of a cell; None if the cell lacks the field."""
        return getattr(cell if self.part is None else getattr(cell, self.part), self.name, None)

    def is_default(self, value: Any) -> bool:
        """Return whether a value is None, the default, or empty options."""
        return value is None or value == self.default or (self.axis.kind is Kind.OPTIONS and not value)

    def store(self, value: Any) -> Any:
        """Return the stored form of a value."""
        if value is None or not self.axis.kind.is_json:
            return value
        return json.dumps(value.to_dict() if isinstance(value, Recipe) else dict(value), sort_keys=True)

    def load(self, stored: Any) -> Any:
        """Return the value of a stored form; NaN, the missing number of a frame, gives None.

        Raises:
            CellError: the stored form is not valid JSON, or the value is not valid.
        """
        if stored is None or stored != stored:
            return None
        if not self.axis.kind.is_json:
            return stored if self.axis.kind is Kind.TEXT else self.axis.checked(self.name, stored)
        try:
            content = json.loads(stored)
            return Recipe(**content) if self.axis.kind is Kind.RECIPE else self.axis.checked(self.name, content)
        except (ValueError, TypeError, RecursionError) as error:
            raise CellError(self.name, stored, f"must be {self.axis.kind.value} as JSON ({error})") from error


@cache
def columns(cell_type: type) -> dict[str, Column]:
    """Return the columns of a type of cell by name, in the order of the declarations."""
    found: dict[str, Column] = {}
    for item in fields(cell_type):
        declared: Parts | None = item.metadata.get("parts")
        holders = [(cell_type, None)] if declared is None else [(kind, item.name) for kind in declared.types]
        for holder, part in holders:
            for own in (item,) if declared is None else fields(holder):
                required = own.default is MISSING
                default = None if required else own.default
                found.setdefault(own.name, Column(own.name, own.metadata["axis"], default, required, part))
    return found


def columns_of(cell: Any) -> dict[str, Any]:
    """Return the row of a cell: column -> stored value."""
    return {name: column.store(column.value(cell)) for name, column in columns(type(cell)).items()}


def build(cell_type: type, values: Mapping[str, Any]) -> Any:
    """Make a cell from one value per column.

    A missing column has its default.  A field that the cell lacks, such as the noise rate of real workers, must be
    missing, None or at its default.

    Raises:
        CellError: a value is not valid, or a required value is missing.
    """
    known = columns(cell_type)
    for name, value in values.items():
        if name not in known:
            raise CellError(name, value, f"is no field of a cell (there are: {', '.join(known)})")
    arguments: dict[str, Any] = {}
    for item in fields(cell_type):
        declared: Parts | None = item.metadata.get("parts")
        if declared is None:
            _take(item, values, arguments, "a cell has")
            continue
        chosen = declared.choose(values.get(declared.by))
        have = "a cell without a network has" if chosen is None else chosen.has
        own = {} if chosen is None else {each.name: each for each in fields(chosen)}
        for name in (name for name, column in known.items() if column.part == item.name and name not in own):
            if name != declared.by and not _is_default(known[name], values.get(name)):
                raise CellError(name, values[name], f"must be left out, because {have} none")
        taken: dict[str, Any] = {}
        for each in own.values():
            _take(each, values, taken, have)
        arguments[item.name] = None if chosen is None else chosen(**taken)
    return cell_type(**arguments)


def _is_default(column: Column, value: Any) -> bool:
    try:
        return column.is_default(value)
    except (ValueError, TypeError):  # an array has no truth value
        return False


def id_of(cell_type: type, row: Mapping[str, Any], method_version: str) -> str:
    """Return the id of the cell with this row: 16 hexadecimal digits.

    The id is a hash of the row and the version of its method.  The hash leaves out values at their default, so that a
    new axis changes no id.

    Args:
        cell_type: the class of the cell.
        row: column -> stored value.
        method_version: see `crowdml.methods.version`.

    Raises:
        ValueError: options are not JSON.
    """
    content: dict[str, Any] = {"method_version": method_version}
    for name, column in columns(cell_type).items():
        value = row[name]
        if value is not None and column.axis.kind.is_json:
            value = _recipe_changes(value) if column.axis.kind is Kind.RECIPE else json.loads(value)
        if not column.is_default(value):
            content[name] = value
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_RECIPE_DEFAULTS = json.loads(json.dumps(asdict(Recipe())))


@lru_cache(maxsize=1024)
def _recipe_changes(text: str) -> dict[str, Any]:
    """Return the fields of a stored recipe that differ from their defaults."""
    return {name: value for name, value in json.loads(text).items() if _RECIPE_DEFAULTS.get(name, MISSING) != value}


def _take(item: Any, values: Mapping[str, Any], arguments: dict[str, Any], have: str) -> None:
    value = values.get(item.name)
    if value is not None:
        arguments[item.name] = value
    elif item.default is MISSING:
        raise CellError(item.name, None, f"must be given, because {have} one")
