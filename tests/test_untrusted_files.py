"""Files that others wrote cannot run code: the whole project is searched for calls that unpickle."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("crowdml", "sweeps", "analysis", "benchmarks", "examples", "clusters", "docs")

# Tests are not searched, because they load only what they wrote.
ARGUED = {
    ("crowdml/datasets/crowd_files.py", "pickle.loads"): "after the check of the published MD5 sum",
    ("crowdml/training/trained_network.py", "torch.export.load"): "a network is a program; help and docs ask for trust",
}

# A call of one of these names runs code of the file, whatever its arguments are.
UNPICKLING = {"Unpickler", "read_pickle", "unsafe_load", "full_load"}
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "pickle5"}


def unchecked(tree: ast.AST) -> Iterator[str]:
    """Yield the calls in a module that may unpickle what anybody wrote."""
    names = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    } | {
        alias.asname: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        head, _, rest = ast.unparse(node.func).partition(".")
        called = ".".join(filter(None, (names.get(head, head), rest)))
        module, _, name = called.rpartition(".")
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        loads = name in ("load", "loads", "open") and module.split(".")[0] in MODULES
        torch_load = called in ("torch.load", "torch.serialization.load") and given.get("weights_only") != "True"
        torch_load |= called in ("torch.export.load", "torch.jit.load", "torch.hub.load")
        if loads or torch_load or name in UNPICKLING or given.get("allow_pickle", "False") != "False":
            yield called


def modules() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every module, script and notebook."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix == ".py":
                yield name, path.read_text()
            elif path.suffix == ".ipynb":
                for cell in json.loads(path.read_text())["cells"]:
                    if cell["cell_type"] == "code":
                        lines = "".join(cell["source"]).splitlines()
                        yield name, "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def test_nothing_unpickles_what_others_wrote() -> None:
    found = {(name, call) for name, text in modules() for call in unchecked(ast.parse(text))}
    assert found == set(ARGUED), "check the file first, or read it without pickle, and argue the exception here"


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("import pickle; pickle.load(file)", "pickle.load"),
        ("import pickle as p; p.loads(content)", "pickle.loads"),
        ("from pickle import load; load(file)", "pickle.load"),
        ("from pickle import Unpickler as U; U(file).load()", "pickle.Unpickler"),
        ("import cloudpickle; cloudpickle.loads(content)", "cloudpickle.loads"),
        ("import joblib; joblib.load(path)", "joblib.load"),
        ("import numpy as np; np.load(path, allow_pickle=True)", "numpy.load"),
        ("import numpy as np; np.load(path, allow_pickle=trusted)", "numpy.load"),
        ("import pandas as pd; pd.read_pickle(path)", "pandas.read_pickle"),
        ("import torch; torch.load(path)", "torch.load"),
        ("import torch; torch.load(path, weights_only=False)", "torch.load"),
        ("from torch import load; load(path, 'cpu')", "torch.load"),
        ("import yaml; yaml.unsafe_load(text)", "yaml.unsafe_load"),
    ],
)
def test_the_search_finds(line: str, call: str) -> None:
    assert list(unchecked(ast.parse(line))) == [call]


@pytest.mark.parametrize(
    "line",
    [
        "import numpy as np; np.load(path)",
        "import numpy as np; np.load(path, allow_pickle=False)",
        "import torch; torch.load(path, map_location='cpu', weights_only=True)",
        "import json; json.load(file)",
        "import pickle; pickle.dumps(value)",
    ],
)
def test_the_search_spares(line: str) -> None:
    assert list(unchecked(ast.parse(line))) == []
