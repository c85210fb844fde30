"""Files of options: what is written is read, goes into a grid, and an error names the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.methods.registry import REGISTRY
from crowdml.methods.search_spaces import method_space
from crowdml.support.search_space import Choice
from sweeps.grid.grids import TRAINING, Block
from sweeps.grid.options_file import MethodOptions, read_options, write_options
from sweeps.grid.toml_file import TomlFileError
from tests.crowdml.support.test_search_space import values_of

FOUND = MethodOptions(
    {"nnaqc": {"alpha": 0.25, "detach": True, "kappa": 1e-5}, "em+bootstrapping": {"learner.hard": True}},
    {"digits": {"lr": 0.02, "milestones": (2, 4)}},
)


def test_a_file_goes_into_a_grid(tmp_path: Path) -> None:
    write_options(tmp_path / "a" / "best.toml", FOUND, comments=["study  s.journal", "", "git commit abc"])
    assert (tmp_path / "a" / "best.toml").read_text().startswith("# study  s.journal\n#\n# git commit abc\n\n[nnaqc]\n")
    read = read_options(tmp_path / "a" / "best.toml")
    assert read == FOUND
    recipe = read.recipe("digits", TRAINING["digits"][1])
    assert (recipe.lr, recipe.milestones, recipe.epochs) == (0.02, (2, 4), 15)
    assert read.recipe("mnist", TRAINING["mnist"][1]) == TRAINING["mnist"][1]
    block = Block(datasets=("digits",), methods=("nnaqc", "em"), seeds=(0,), method_options=read.methods, recipe=recipe)
    cells = block.cells()
    assert {cell.method_options for cell in cells} == {(("alpha", 0.25), ("detach", True), ("kappa", 1e-5)), ()}
    assert {cell.training.recipe for cell in cells if cell.training} == {recipe}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_point_of_a_space_comes_back(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("options") / "best.toml"
    name = data.draw(st.sampled_from([*REGISTRY, "em+bootstrapping"]))
    options = {option: data.draw(values_of(kind)) for option, kind in method_space(name).items()}
    write_options(path, MethodOptions({name: options}))
    assert read_options(path).methods == {name: {key: value for key, value in options.items() if value is not None}}
    for option, kind in method_space(name).items():
        if isinstance(kind, Choice) and isinstance(options[option], bool):
            assert read_options(path).methods[name][option] is options[option]


def test_aliases_and_long_names_are_shortened(tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_text("[dawid_skene]\nsmoothing = 0.1\n['mv+nnaqc']\nlearner.alpha = 0.5\n")
    assert read_options(path).methods == {"em": {"smoothing": 0.1}, "nnaqc": {"learner.alpha": 0.5}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[nnaqc]\nalpha = = 1\n", "cannot be read as TOML: Invalid value (at line 2, column 9)"),
        ("\n[nnaqk]\nalpha = 1\n", "nnaqk: unknown method 'nnaqk'; did you mean nnaqc"),
        ("[nnaqc]\n\nalhpa = 1\n", "nnaqc.alhpa: unknown option of method nnaqc 'alhpa'; did you mean alpha"),
        ("[nnaqc]\nbeta = 0.5\nalpha = 1.5\n", "nnaqc.alpha: method nnaqc: alpha must be in [0, 1], got 1.5"),
        ("[nnaqc]\nalpha = 'x'\n", "nnaqc.alpha: "),
        ("[nnaqc]\nalpha = nan\n", "nnaqc.alpha: must be a finite number, got nan"),
        (
            "['em+bootstrapping']\ntrust = 1.0\nhard = true\n",
            "em+bootstrapping.hard: both parts of method em+bootstrapping have the option 'hard'",
        ),
        ("['em+bootstrapping']\n'source.hart' = true\n", "em+bootstrapping.source.hart: unknown option"),
        ("['em+bootstrapping']\nsource.hart = true\n", "em+bootstrapping.source.hart: unknown option"),
        ("[sce]\nalpha = 0\nbeta = 0\n", "alpha and beta must not both be 0"),
        ("[em]\n[dawid_skene]\n", "em, dawid_skene name one method more than once; keep one table per method"),
        ("nnaqc = 3\n", "nnaqc: must be a table, got 3"),
        ("[recipe.digist]\nlr = 1\n", "recipe.digist: unknown data set with a recipe 'digist'; did you mean digits"),
        ("[recipe.digits]\nepochs = 3\nlr = -1\n", "recipe.digits.lr: recipe.lr must be above 0, got -1"),
        ("[recipe.digits]\nlearning_rate = 1\n", "recipe.digits: unknown key 'learning_rate'"),
        ("[recipe.digits]\nlr = 'fast'\n", 'recipe.digits.lr: must be a number, got "fast"'),
        ("[recipe.digits]\nkeep = 'last'\npatience = 3\n", "recipe.digits.patience: recipe.patience"),
        ("[recipe]\ndigits = 3\n", "recipe.digits: must be a table, got 3"),
        ("recipe = 3\n", "recipe: must be a table, got 3"),
    ],
)
def test_an_error_names_the_file_and_the_place(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_text(text)
    with pytest.raises(TomlFileError) as error:
        read_options(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_all_problems_of_a_file_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_text("[em]\nmax_iter = 0\n[nnaqc]\nalpha = 2\n[recipe.digits]\nlr = 0\n")
    with pytest.raises(TomlFileError) as error:
        read_options(path)
    places = [place for place, _ in error.value.problems]
    assert places == [("em", "max_iter"), ("nnaqc", "alpha"), ("recipe", "digits", "lr")]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TomlFileError, match=r"none.toml: cannot be read: No such file or directory"):
        read_options(tmp_path / "none.toml")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_is_never_written(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_options(tmp_path / "o.toml", MethodOptions({"nnaqc": {"alpha": value}}))
    assert not (tmp_path / "o.toml").exists()
