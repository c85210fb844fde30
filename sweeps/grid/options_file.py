"""Options of methods and recipes in a TOML file: what a search found, or what a user writes.

[nnaqc]
alpha = 0.3

["em+bootstrapping"]
learner.hard = true

[recipe.digits]
lr = 0.02
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from crowdml import methods
from crowdml.learning.recipe import Recipe
from crowdml.support.names import check_name
from sweeps.grid.grids import TRAINING, with_changes
from sweeps.grid.toml_lines import line_of

RECIPE = "recipe"


class OptionsFileError(ValueError):
    """A file of options that cannot be used; names the file and the line."""


@dataclass(frozen=True)
class MethodOptions:
    """What a file of options holds.

    Args:
        methods: method's shortest name -> option -> value, as `Block.method_options` takes them.
        recipes: data set -> field of Recipe -> value.
    """

    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def recipe(self, dataset: str, base: Recipe) -> Recipe:
        """The recipe of a data set with what the file says of it; another number of epochs moves its schedule too."""
        return with_changes(base, self.recipes.get(dataset, {}))


def read_options(path: str | Path) -> MethodOptions:
    """Read a file of options and check every one of them.

    Raises:
        OptionsFileError: it cannot be read, is no TOML, or names a method, an option, a data set or a value that there
            is not.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionsFileError(f"cannot read the options in {path}: {error}") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionsFileError(f"{path} is no TOML: {error}") from error
    reader = _Reader(str(path), text)
    recipes = reader.recipes(content.pop(RECIPE, {}))
    return MethodOptions(reader.methods(content), recipes)


def write_options(path: str | Path, options: MethodOptions, *, comments: Sequence[str] = ()) -> None:
    """Write a file that `read_options` reads, whole or not at all.

    Args:
        path: of the file; one that is there is replaced, and its folder is made.
        options: what to write.  An option that is None is left out, for TOML has no such value and every method takes
            it by default where it takes it at all.
        comments: lines above.
    """
    tables = [(f"[{_key(name)}]", table) for name, table in options.methods.items()]
    tables += [(f"[{RECIPE}.{_key(name)}]", table) for name, table in options.recipes.items()]
    blocks = ["\n".join(f"# {line}".rstrip() for line in comments)] if comments else []
    for header, table in tables:
        lines = [f"{_key(name)} = {_value(value)}" for name, value in table.items() if value is not None]
        blocks.append("\n".join([header, *lines]))
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    partial.replace(target)


class _Reader:
    """Checks what TOML has told, and finds the line of what is wrong."""

    def __init__(self, path: str, text: str) -> None:
        self._path, self._text = path, text

    def methods(self, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for name, table in content.items():
            self._check_table(name, table, (name,))
            try:
                canonical = methods.canonical(name)
            except ValueError as error:
                raise self._error((name,), error) from error
            if canonical in found:
                raise self._error((name,), f"method {canonical} has a table already, under another of its names")
            options = dict(_flat(table))
            self._check_method(name, options)
            found[canonical] = options
        return found

    def recipes(self, content: Any) -> dict[str, dict[str, Any]]:
        self._check_table(RECIPE, content, (RECIPE,))
        for dataset, table in content.items():
            self._check_table(f"{RECIPE}.{dataset}", table, (RECIPE, dataset))
            try:
                check_name("data set with a recipe", dataset, TRAINING)
            except ValueError as error:
                raise self._error((RECIPE, dataset), error) from error
            self._check_recipe(dataset, table)
        return {dataset: dict(table) for dataset, table in content.items()}

    def _check_table(self, name: str, table: Any, path: Sequence[str]) -> None:
        if not isinstance(table, dict):
            raise self._error(path, f"{name} must be a table [{_key(name)}] of options, got {table!r}")

    def _check_method(self, name: str, options: Mapping[str, Any]) -> None:
        # One by one first: the error of an option has the option's line, that of some together the table's.
        for part in (*({option: value} for option, value in options.items()), options):
            try:
                methods.resolve(name, part)
            except (ValueError, TypeError) as error:
                path = (name, *next(iter(part)).split(".")) if len(part) == 1 else (name,)
                raise self._error(path, f"method {name}: {error}") from error

    def _check_recipe(self, dataset: str, table: Mapping[str, Any]) -> None:
        base = TRAINING[dataset][1]
        for part in (*({option: value} for option, value in table.items()), table):
            path = (RECIPE, dataset, *(part if len(part) == 1 else ()))
            try:
                for option in part:
                    check_name("field of a recipe", option, [item.name for item in fields(Recipe)])
                replace(base, **part)
            except (ValueError, TypeError) as error:
                raise self._error(path, error) from error

    def _error(self, path: Sequence[str], error: object) -> OptionsFileError:
        # An option written "source.hard" is one key of TOML, source.hard two.
        line = line_of(self._text, path) or line_of(self._text, (path[0], ".".join(path[1:])))
        return OptionsFileError(f"{self._path}, line {line}: {error}")


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Options by name, those of a part (`source.hard = true`, which TOML takes for a table) with their dot."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _key(name: str) -> str:
    bare = name.replace("_", "").replace("-", "")
    return name if bare.isascii() and bare.isalnum() else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    # JSON writes texts, true, false and finite numbers as TOML does; other numbers are no option's value.
    return json.dumps(value, allow_nan=False)
