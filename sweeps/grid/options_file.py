"""Read and write the options of methods and the recipes of data sets in a TOML file.

[nnaqc]
alpha = 0.3

["em+bootstrapping"]
learner.hard = true

[recipe.digits]
lr = 0.02
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator

from crowdml import methods
from crowdml.experiment.axes import OptionError, check_made
from crowdml.learning.recipe import Recipe
from crowdml.support.names import check_name
from crowdml.support.whole_file import whole_file
from sweeps.grid.grids import TRAINING, with_changes
from sweeps.grid.toml_file import (
    Options,
    Problem,
    TomlFileError,
    TomlTable,
    check_content,
    error_text,
    given_fields,
    read_toml,
    table_model,
    toml_key,
    toml_value,
)

RECIPE = "recipe"


def _method_name(name: str, info: ValidationInfo) -> str:
    if ":" in name and not (info.context or {})["allow_imports"]:
        raise ValueError(
            f'"{name}" is a class to import, and a grid file must not run code; name a method of `python -m crowdml '
            "methods`, or give --allow-imports if you trust the file"
        )
    return methods.canonical(name)


def _one_table_each(tables: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    checked = validate(tables)
    if len(checked) < len(tables):
        raise ValueError(f"{', '.join(tables)} name one method more than once; keep one table per method")
    return checked


MethodName = Annotated[str, AfterValidator(_method_name)]
"""The name of a method in a model of a file; the model replaces it with the shortest name of the method.

The model needs the context {"allow_imports": bool}, because the import of a class runs code.
"""
MethodTables = Annotated[dict[MethodName, Options], WrapValidator(_one_table_each)]
"""Method -> option -> value, in a model of a file."""
_Dataset = Annotated[str, AfterValidator(lambda name: check_name("data set with a recipe", name, TRAINING))]
_RECIPE = table_model(Recipe)


class _OptionsFile(TomlTable):
    methods: MethodTables
    recipe: dict[_Dataset, _RECIPE]  # pyright: ignore[reportInvalidTypeForm]


@dataclass(frozen=True)
class MethodOptions:
    """The content of a file of options.

    Args:
        methods: shortest name of a method -> option -> value, as `Block.method_options` takes them.
        recipes: data set -> field of Recipe -> value.
    """

    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def recipe(self, dataset: str, base: Recipe) -> Recipe:
        """Return the recipe with the changes for a data set; a new number of epochs also scales the schedule."""
        return with_changes(base, self.recipes.get(dataset, {}))


def read_options(path: str | Path) -> MethodOptions:
    """Read a file of options and check each option.

    Raises:
        TomlFileError: the file cannot be read or is not TOML, or holds an unknown name or a value out of range.
    """
    content = read_toml(path)
    recipe = content.pop(RECIPE, {})
    try:
        table = check_content(path, {"methods": content, RECIPE: recipe}, _OptionsFile, {"allow_imports": True})
    except TomlFileError as error:
        # The tables of methods stand at the top of the file.
        raise TomlFileError(path, [(at[at[:1] == ("methods",) :], reason) for at, reason in error.problems]) from None
    recipes = {dataset: given_fields(fields) for dataset, fields in table.recipe.items()}
    found = {
        (name,): _refusal(name, options, partial(methods.resolve, name)) for name, options in table.methods.items()
    }
    found |= {(RECIPE, name): recipe_problem(TRAINING[name][1], changes) for name, changes in recipes.items()}
    if problems := [((*place, *problem[0]), problem[1]) for place, problem in found.items() if problem]:
        raise TomlFileError(path, problems)
    return MethodOptions(table.methods, recipes)


def write_options(path: str | Path, options: MethodOptions, *, comments: Sequence[str] = ()) -> None:
    """Write a file that `read_options` can read.  An interrupted write leaves no partial file.

    Args:
        path: the file.  An existing file is replaced.  A missing folder is created.
        options: the content.  An option that is None is left out: TOML has no None, and None is the default of every
            option that can be None.
        comments: the lines at the top of the file.

    Raises:
        ValueError: an option is a number that is not finite.
    """
    tables = [(toml_key(name), table) for name, table in options.methods.items()]
    tables += [(f"{RECIPE}.{toml_key(name)}", table) for name, table in options.recipes.items()]
    parts = ["\n".join(f"# {line}".rstrip() for line in comments)] if comments else []
    for name, table in tables:
        lines = [f"{toml_key(option)} = {toml_value(value)}" for option, value in table.items() if value is not None]
        parts.append("\n".join([f"[{name}]", *lines]))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def recipe_problem(base: Recipe, changes: Mapping[str, Any]) -> Problem | None:
    """Return the wrong field and the reason if a recipe refuses the changes, else None."""
    return _refusal(RECIPE, changes, partial(with_changes, base))


def _refusal(name: str, options: Mapping[str, Any], make: Callable[[dict[str, Any]], Any]) -> Problem | None:
    """Return the wrong option and the reason if options are refused, else None."""
    try:
        check_made(name, tuple(options.items()), make)
    except OptionError as error:
        option = error.field.removeprefix(name).removeprefix(".")
        return (option,) if option else (), error_text(error)
    return None
