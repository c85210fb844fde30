"""What `import crowdml` gives and loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import crowdml
from crowdml import aggregation

HEAVY = {"numpy", "pandas", "pyarrow", "scipy", "numba", "torch", "ray", "sklearn", "matplotlib"}


def loaded_after(code: str) -> set[str]:
    """Return the heavy libraries that the code loads in a new process."""
    code = f"{code}\nimport sys\nprint(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ast.literal_eval(done.stdout))


def test_import_loads_no_library() -> None:
    assert loaded_after("import crowdml") == set()


def test_a_name_loads_only_what_it_needs() -> None:
    assert not loaded_after("import crowdml; crowdml.CrowdLabels") & {"torch", "numba", "ray"}
    assert not loaded_after("import crowdml; crowdml.MajorityVote; crowdml.fit_predict; crowdml.Cell") & {
        "torch",
        "ray",
    }


@pytest.mark.parametrize("name", dir(crowdml))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(crowdml, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'crowdml' has no attribute 'CrowdLabel'"):
        crowdml.CrowdLabel  # noqa: B018  # pyright: ignore


def test_every_aggregator_is_public() -> None:
    assert set(aggregation.__all__) | {"Laa", "Bila"} <= set(dir(crowdml))


def test_the_version_is_the_version_of_the_package() -> None:
    assert crowdml.__version__ == version("crowdml")


def test_type_checkers_see_the_same_names() -> None:
    assert crowdml.__file__ is not None
    stub = ast.parse(Path(crowdml.__file__).with_suffix(".pyi").read_text())
    imported = {
        (statement.module, alias.asname)
        for statement in stub.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert imported == {(module, name) for module, names in crowdml._PUBLIC.items() for name in names}  # pyright: ignore
