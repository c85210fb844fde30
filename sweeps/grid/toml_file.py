"""Read and write the TOML files of users: grid files and option files.

A pydantic model says what a file may hold.  Each problem is one line: `my_grid.toml: block 2, seeds[1]: must be a whole
number, got "x"`.  The number of a block starts at 1.  The index of a value in a list starts at 0.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from crowdml.experiment.axes import CellError, OptionError
from crowdml.support.names import UnknownNameError, check_name
from crowdml.support.printable import printable

Place = tuple[str | int, ...]
"""The keys and indices that lead to a value: ("block", 1, "seeds", 0)."""
Problem = tuple[Place, str]
"""A place and what is wrong there."""

NONE = "none"
"""The text that stands for None, because TOML has no None."""

_N_SHOWN = 10
_WIDTH = 60
_FEWEST, _MOST = -(2**63), 2**63 - 1
_MUST_BE = {
    "int_type": "a whole number", "float_type": "a number", "finite_number": "a finite number", "string_type": "a text",
    "bool_type": "true or false", "tuple_type": "a list", "dict_type": "a table", "model_type": "a table",
    "greater_than_equal": "a whole number of 64 bits", "less_than_equal": "a whole number of 64 bits",
}  # fmt: skip


class TomlFileError(ValueError):
    """A TOML file that cannot be used.  The message has one line for each of the first ten problems."""

    def __init__(self, path: str | Path, problems: Sequence[Problem]) -> None:
        super().__init__(path, problems)
        lines = [f"{path}: {_place_text(place)}{reason}" for place, reason in problems[:_N_SHOWN]]
        if len(problems) > _N_SHOWN:
            lines.append(f"{path}: {len(problems) - _N_SHOWN} more problems")
        self.path, self.problems, self.lines = path, tuple(problems), tuple(lines)

    def __str__(self) -> str:
        return "\n".join(self.lines)


class TomlTable(BaseModel):
    """Base of the models: no unknown keys, no conversion between types, no infinite numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=TomlTable)


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the content of a TOML file, with tuples in place of lists.

    Raises:
        TomlFileError: the file cannot be read or is not TOML.
    """
    try:
        return _with_tuples(tomllib.loads(Path(path).read_text("utf-8-sig")))
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except RecursionError:
        reason = "cannot be read: the values are nested too deeply"
    except ValueError as error:  # not UTF-8, not TOML, or a number of thousands of digits
        reason = f"cannot be read as TOML: {error}"
    raise TomlFileError(path, [((), one_line(reason))])


def check_content(path: str | Path, content: Mapping[str, Any], model: type[Model], context: Any = None) -> Model:
    """Return the content of a file, from `read_toml`, as an instance of a model; the validators get the context.

    Raises:
        TomlFileError: the content does not fit the model; the error lists all problems.
    """
    try:
        return model.model_validate(content, context=context)
    except ValidationError as error:
        raise TomlFileError(path, [_problem(found, model) for found in error.errors(include_url=False)]) from None


def table_model(kind: type, **types: Any) -> type[TomlTable]:
    """Return a model of a table that may hold any of the fields of a dataclass.

    Args:
        kind: a dataclass.  The types of its fields are texts, numbers, truth values, None, tuples of these, literals,
            options by name, and dataclasses.
        types: key -> its type in the file, for a key that is no field or has another type than the field.
    """
    hints = get_type_hints(kind)
    types = {item.name: _toml_type(hints[item.name]) for item in fields(kind)} | types
    members = {name: (hint, None) for name, hint in types.items()}
    return create_model(kind.__name__, __base__=TomlTable, **members)  # pyright: ignore[reportCallIssue, reportArgumentType]


def given_fields(table: TomlTable) -> dict[str, Any]:
    """Return the fields that the file gives, with their values."""
    return {name: getattr(table, name) for name in table.model_fields_set}


def toml_key(name: str) -> str:
    """Return a name as a key of a TOML table, in quotes where TOML requires them."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def toml_value(value: Any) -> str:
    """Return a text, number, truth value, None or list of these as TOML.

    Raises:
        ValueError: the value is a number that is not finite.
    """
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(toml_value, value))}]"
    # JSON writes scalars as TOML does, except for the character DEL, which only TOML escapes.
    text = json.dumps(NONE if value is None else value, ensure_ascii=False, allow_nan=False)
    return text.replace("\x7f", "\\u007f")


def error_text(error: CellError) -> str:
    """Return the reason of an error without the name of the field, because the place in the file names the field."""
    if isinstance(error.__cause__, TypeError):
        return f"must be a value of another type, got {shown(error.value)}"
    reason = one_line(error.reason)
    return reason if isinstance(error, OptionError) else f"{reason}, got {shown(error.value)}"


def shown(value: Any) -> str:
    """Return a value as a user would write it, on one line and not too long."""
    try:
        text = str(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python refuses to print a number of thousands of digits
        return "a number too long to show"
    return printable(text if len(text) <= _WIDTH else f"{text[:_WIDTH]}...")


def one_line(text: str) -> str:
    """Return a text with one space for every run of white space, and with control characters escaped."""
    return printable(" ".join(text.split()))


def _flat_options(table: Any) -> Any:
    """Replace the tables in a table of options: TOML reads the option `learner.hard = true` as a table `learner`."""
    if not isinstance(table, dict):
        return table
    flat: dict[str, Any] = {}
    for name, value in _flat(table):
        if name in flat:
            raise ValueError(f"{name} is given twice, as a key and in a table")
        flat[name] = value
    return flat


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _check_option(value: Any) -> Any:
    if isinstance(value, tuple):
        for part in value:
            _check_option(part)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, got {value}")
    elif isinstance(value, int) and not _FEWEST <= value <= _MOST:
        raise ValueError(f"must be a whole number of 64 bits, got {shown(value)}")
    elif not isinstance(value, (str, int, float)):
        raise ValueError(f"must be a text, a number, true, false or a list of these, got {shown(value)}")
    return value


OptionValue = Annotated[Any, AfterValidator(_check_option)]
"""The value of an option, in a model of a file."""
Options = Annotated[dict[str, OptionValue], BeforeValidator(_flat_options)]
"""Option -> value, in a model of a file."""


def _toml_type(hint: Any) -> Any:
    """Return the type that a model needs for the type hint of a field."""
    parts = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        inner = _toml_type(next(part for part in parts if part is not NoneType))
        return Annotated[inner | None, BeforeValidator(lambda value: None if value == NONE else value)]
    if get_origin(hint) is tuple:
        return tuple[_toml_type(parts[0]), ...]
    if get_origin(hint) is Mapping:
        return Options if parts[1] is Any else dict[str, _toml_type(parts[1])]
    if hint is Any:
        return OptionValue
    if hint is int:
        return Annotated[int, Field(ge=_FEWEST, le=_MOST)]
    return table_model(hint) if isinstance(hint, type) and is_dataclass(hint) else hint


def _with_tuples(value: Any) -> Any:
    """Replace lists by tuples, because a strict model takes no list for a tuple."""
    if isinstance(value, dict):
        return {key: _with_tuples(part) for key, part in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _problem(found: ErrorDetails, model: type[BaseModel]) -> Problem:
    """Return the place and the reason of an error of pydantic, in the words of this project."""
    # pydantic adds "[key]" to the place of a key that a validator refuses.
    place: Place = tuple(part for part in found["loc"] if part != "[key]")
    kind, value = found["type"], found["input"]
    details = found.get("ctx", {})
    if kind == "extra_forbidden":
        try:
            check_name("key", str(place[-1]), _model_at(model, place[:-1]).model_fields)
        except UnknownNameError as error:
            return place[:-1], one_line(str(error))
    if kind == "value_error":
        return place, one_line(str(details["error"]))
    if kind == "too_short":
        return place, "must not be empty"
    hint = f"; write [{shown(value)}]" if kind == "tuple_type" else ""
    return place, f"must be {_MUST_BE.get(kind) or details.get('expected', found['msg'])}, got {shown(value)}{hint}"


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel]:
    """Return the model of the table at a place."""
    for part in place:
        if part in model.model_fields:  # neither an index nor a name of the user
            model = next(_models_in(model.model_fields[str(part)].annotation))
    return model


def _models_in(hint: Any) -> Iterator[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for part in get_args(hint):
        yield from _models_in(part)


def _place_text(place: Place) -> str:
    """Return a place as "block 2, seeds[1]: "; the place of the whole file is empty."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f"{'.' if text else ''}{part if part.isprintable() else repr(part)}"
    # A user counts the tables [[block]] from 1.
    text = re.sub(r"^block\[(\d+)\]\.?", lambda match: f"block {int(match[1]) + 1}, ", text).removesuffix(", ")
    return f"{text}: " if text else ""
