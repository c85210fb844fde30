"""The codec between a cell and the columns of a row, made from what the fields of the cell declare.

`columns(Cell)` lists the columns.  A cell has *values* (options as pairs, a recipe as a Recipe); a row *stores* them
(options and a recipe as JSON text).  A value that the cell does not have, such as the noise rate of real workers, is
None.
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
    """What a field of a cell declares that holds further fields.

    Args:
        by: the column whose value says which type the part has.
        choose: value of that column -> the type; None if the cell has no such part.
        types: all types; `has` of a type begins a sentence about it, such as "real workers have".
    """

    by: str
    choose: Callable[[Any], type | None]
    types: tuple[type, ...]


def parts(by: str, choose: Callable[[Any], type | None], *types: type, **default: Any) -> Any:
    """Declare a field of a cell that holds further fields; see Parts."""
    return field(metadata={"parts": Parts(by, choose, types)}, **default)


@dataclass(frozen=True)
class Column:
    """A column of the results, and the field of a cell that it holds.

    Args:
        name: of the column and of the field.
        axis: what the field declares.
        default: its default; None if it is required.
        required: whether a cell that has the field must give its value.
        part: the field of the cell that holds the field; None if it is the cell's own.
    """

    name: str
    axis: Axis
    default: Any
    required: bool
    part: str | None

    def value(self, cell: Any) -> Any:
        """Return the cell's value; None if it has none."""
        return getattr(cell if self.part is None else getattr(cell, self.part), self.name, None)

    def is_default(self, value: Any) -> bool:
        """Whether a value says nothing that is not said without it: None, the default or no options."""
        return value is None or value == self.default or (self.axis.kind is Kind.OPTIONS and not value)

    def store(self, value: Any) -> Any:
        """Return a value as a row stores it."""
        if value is None or not self.axis.kind.is_json:
            return value
        return _recipe_text(value) if isinstance(value, Recipe) else json.dumps(dict(value), sort_keys=True)

    def load(self, stored: Any) -> Any:
        """Return the value that a row stores; a missing number of a frame (NaN) is None.

        Raises:
            CellError: the value is not JSON, or not what the column holds.
        """
        if stored is None or stored != stored:
            return None
        if not self.axis.kind.is_json:
            return self.axis.checked(self.name, stored) if self.axis.kind is Kind.WHOLE else stored
        try:
            content = json.loads(stored)
            return Recipe(**content) if self.axis.kind is Kind.RECIPE else self.axis.checked(self.name, content)
        except (ValueError, TypeError) as error:
            raise CellError(self.name, stored, f"must be {self.axis.kind.value} as JSON ({error})") from error


@cache
def columns(cell_type: type) -> dict[str, Column]:
    """Return the columns of a type of cell by name, in the order in which its fields are declared."""
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
    """Make a cell of a value per column; a column that is left out is at its default.

    A column that the cell cannot have must be left out, None or at its default.

    Raises:
        CellError: a value that a cell cannot have, or one that is missing.
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
            if name != declared.by and not known[name].is_default(values.get(name)):
                raise CellError(name, values[name], f"must be left out, because {have} none")
        taken: dict[str, Any] = {}
        for each in own.values():
            _take(each, values, taken, have)
        arguments[item.name] = None if chosen is None else chosen(**taken)
    return cell_type(**arguments)


def id_of(cell_type: type, row: Mapping[str, Any], method_version: str) -> str:
    """Return the id of the cell with this row: 16 hexadecimal digits.

    The id is a hash of what determines the result: the row and the version of its method.  Values at their default are
    left out, so that a new axis changes no id.

    Args:
        cell_type: type of the cell.
        row: column -> stored value.
        method_version: see `crowdml.methods.version`.

    Raises:
        ValueError: options that are not JSON.
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


@lru_cache(maxsize=1024)  # the cells of a grid share few recipes
def _recipe_text(recipe: Recipe) -> str:
    return json.dumps(recipe.to_dict(), sort_keys=True)


@lru_cache(maxsize=1024)
def _recipe_changes(text: str) -> dict[str, Any]:
    """Return the fields of a stored recipe that are not at their default."""
    return {name: value for name, value in json.loads(text).items() if _RECIPE_DEFAULTS.get(name, MISSING) != value}


def _take(item: Any, values: Mapping[str, Any], arguments: dict[str, Any], have: str) -> None:
    """Put the value of a field into the arguments, if there is one."""
    value = values.get(item.name)
    if value is not None:
        arguments[item.name] = value
    elif item.default is MISSING:
        raise CellError(item.name, None, f"must be given, because {have} one")
