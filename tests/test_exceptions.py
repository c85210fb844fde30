"""Ray sends exceptions between processes, so each exception of the project is the same after pickle and copy."""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
import pickle
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SAMPLES: dict[str, Any] = {
    "str": "what [x]: is\nwrong", "str | Path": "a file", "Path": Path("a file"), "Any": [1.5, {"x": None}],
    "int": 3, "float": 1.5,
    "Sequence[Problem]": [(("block", 0, "seeds", 1), "must be a number"), ((), "cannot be read")],
    "SearchProgress": SimpleNamespace(n=1),
}  # fmt: skip
"""Type hint of an argument -> a value."""


def exceptions() -> list[tuple[str, str]]:
    """Module and name of each class of an exception."""
    names = {
        name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
    }
    classes = [
        (".".join(path.relative_to(ROOT).with_suffix("").parts), node)
        for room in ("crowdml", "sweeps", "analysis")
        for path in sorted((ROOT / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    for _ in range(5):  # a class may be based on a class of a later file
        names |= {node.name for _, node in classes if any(ast.unparse(base) in names for base in node.bases)}
    found = [(module, node.name) for module, node in classes if any(ast.unparse(base) in names for base in node.bases)]
    assert len(found) >= 20
    return found


def arguments_of(kind: type) -> Sequence[Any]:
    if kind.__init__ is BaseException.__init__ or ("__init__" not in kind.__dict__ and not _own_init(kind)):
        return ("what [x]: is\nwrong",)
    hints = [parameter.annotation for parameter in list(inspect.signature(kind).parameters.values())]
    return [SAMPLES[str(hint)] for hint in hints]


def _own_init(kind: type) -> bool:
    return any("__init__" in each.__dict__ for each in kind.__mro__ if not each.__module__.startswith("builtins"))


@pytest.mark.parametrize(("module", "name"), exceptions())
def test_an_exception_is_the_same_in_another_process(module: str, name: str) -> None:
    kind = getattr(import_module(module), name)
    made = kind(*arguments_of(kind))
    attributes = {key: value for key, value in vars(made).items() if not key.startswith("__")}
    for again in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert type(again) is kind
        assert (str(again), again.args) == (str(made), made.args)
        assert {key: value for key, value in vars(again).items() if not key.startswith("__")} == attributes
