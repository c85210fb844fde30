"""Generated grid files and option files: what is read can be made; else each line names the file and the place."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crowdml.datasets import ImageData, load
from crowdml.experiment.cell import check_options
from crowdml.experiment.crowd import cell_crowd
from crowdml.experiment.crowd_types import Simulated
from crowdml.methods.registry import REGISTRY
from crowdml.noise import ASSIGNMENTS, PATTERNS, WORKER_MODELS
from sweeps.grid.grid_file import read_grid
from sweeps.grid.options_file import read_options
from sweeps.grid.selection import order
from sweeps.grid.toml_file import TomlFileError

N_GRIDS, N_OPTIONS = 300, 200

SEEDS = [
    "0", "-1", "1.0", "18446744073709551616", "9223372036854775808", "9223372036854775807", "1" + "0" * 400, "9" * 5000,
    "inf", "-inf", "nan", "-0.0", "0.5", "1e308", "1e999", "true", "false", '"x"', '""', '"none"', "[]", "[[]]", "[1]",
    "[1, [2, [3]]]", "[[1]]", "[[0, 1]]", "[0.5, 0.6]", "{}", "{a = 1}", "{a = {b = 1}}", "1979-05-27", "07:32:00",
    '"a\\u0000b"', '"\\u001b[31m"', '"\\u202e"', '"[/red]"', "'$\\frac{$'", "[" * 300 + "]" * 300,
    "[" * 5000, f'"{"x" * 10_000}"',
    "0x10", "1_000", '["mv", "em"]', '["real"]', '["digits"]', "[0, 1]", "[3]", '"mv"', '"uniform"', "[0, 0]",
]  # fmt: skip
NAMES = {
    "datasets": ["digits", "cifar10_labels", "labelme", "bluebird", "nothing", "none", ""],
    "patterns": [*PATTERNS, "real", "machine_annotators", "none"],
    "worker_models": [*WORKER_MODELS, "nobody"],
    "assignments": [*ASSIGNMENTS, "nobody"],
    "methods": ["mv", "em", "labnet", "nnaqc", "em+nnaqc", "ccem", "glad", "a:b", "+", "em+", ":", "none", "sce"],
    "seeds": ["0", "7"], "workers": ["3", "5"], "noise_rates": ["0.6"], "missing_rates": ["0.0", "0.3"],
}  # fmt: skip
RIGHT = {
    "methods": {"em": "max_iter = 5", "glad": "max_iter = 3.0", "mv": "", "em+nnaqc": "learner.alpha = 0.3"},
    "patterns": {
        "uniform": "include_true = true", "bimodal": "centres = [3, 6.5]", "flip": "pairs = [[0, 1]]", "pair": "",
        "permutation": "permutation = [1, 0, 2, 3, 4, 5, 6, 7, 8, 9]", "random_simplex": "n_targets = 2",
        "item_difficulty": "spread = 0", "asymmetric": "pairs = [[0, 12]]", "symmetric": "include_true = 1",
    },
    "worker_models": {
        "hammer_spammer": "hammers = 1", "beta_ability": "concentration = 0.1", "homogeneous": "", "random": "",
        "separable_uniform": "gamma = 1e99", "diagonally_dominant": "gamma = 0", "class_wise_experts": "",
    },
    "assignments": {"balanced": "labels_per_item = 2", "power_law": "labels_per_item = 1\nexponent = 400"},
}  # fmt: skip
"""Axis -> name -> options that are mostly right."""
OPTION_NAMES = [
    "max_iter", "tol", "init", "alpha", "learner.hard", "source.tol", "hammers", "concentration", "gamma", "exponent",
    "labels_per_item", "centres", "deviations", "discretise", "include_true", "pairs", "permutation", "n_targets",
    "spread", "expert_images", "lr", "epochs", "milestones", "augment", "patience", "keep", "validation", "", "x",
]  # fmt: skip


def grid_text(draw: random.Random) -> str:
    """A grid file that is mostly right, with some odd keys and values."""
    lines = []
    if draw.random() < 0.04:
        lines.append(f"{draw.choice(['only', 'priority', 'description', 'block', 'x'])} = {odd(draw)}")
    if draw.random() < 0.1:
        lines.append(
            f"only = {toml_text(draw.choice(['method == 1', 'seed > 0', '((((', 'not ' * 500 + 'seed > 0', 'x']))}"
        )
    for _ in range(draw.choice([1, 1, 1, 2])):
        lines += block_lines(draw)
    return "\n".join(lines)


def block_lines(draw: random.Random) -> list[str]:
    lines = [draw.choice(["[[block]]"] * 40 + ["[block]", "[[blocks]]"])]
    axes = {"datasets": '["digits"]', "methods": '["mv"]', "seeds": "[0]", "workers": "[3]", "train": "false"}
    if draw.random() < 0.1:
        axes["extends"] = draw.choice(['"labels-minimax"', '"laptop"', odd(draw)])
    tables = []
    for axis, names in NAMES.items():
        if draw.random() < 0.05:
            number = draw.choice([1, 2])
            listed = [odd(draw) if draw.random() < 0.3 else toml_text(draw.choice(names)) for _ in range(number)]
            axes[axis] = f"[{', '.join(listed)}]" if draw.random() < 0.9 else odd(draw)
        elif axis in RIGHT and draw.random() < 0.4:
            name = draw.choice(list(RIGHT[axis]))
            axes[axis] = f"[{toml_text(name)}]"
            owner = f"{axis[:-1]}_options"
            options = RIGHT[axis][name] if draw.random() < 0.7 else "\n".join(option_lines(draw, OPTION_NAMES))
            tables += [f"[block.{owner.replace('worker_model', 'worker')}.{toml_text(name)}]", options]
    for field in ("train", "network", "epochs", "n_train", "missing", "recipe", "sedes"):
        if draw.random() < 0.04:
            axes[field] = draw.choice(["false", '"cnn_digits"', "5", "100", '"floor"', odd(draw), odd(draw)])
    if draw.random() < 0.1:
        tables += ["[block.other_axes]", *option_lines(draw, ["n_train", "missing", "network", "dataset", "x"])]
    if draw.random() < 0.05 and "recipe" not in axes:
        tables += ["[block.recipe]", *option_lines(draw, OPTION_NAMES)]
    return [*lines, *(f"{name} = {value}" for name, value in axes.items()), *tables]


def option_lines(draw: random.Random, names: list[str]) -> list[str]:
    chosen = draw.sample(names, draw.choice([1, 1, 2]))
    return [f"{key(name, draw)} = {odd(draw)}" for name in chosen]


def options_text(draw: random.Random) -> str:
    right = {
        "em": "max_iter = 5", "nnaqc": "alpha = 0.3", "em+bootstrapping": "learner.hard = true",
        "recipe.digits": "lr = 1",
        "recipe.mnist": "epochs = 7", "em+nnaqc": "source.max_iter = 3", "glad": "", "mv": "", "labnet": "",
    }  # fmt: skip
    lines = []
    for name in draw.sample([*right, *(draw.sample([*REGISTRY, "recipe.x", "x", "a:b"], 1))], 2):
        lines.append(f"[{name if name.startswith('recipe') else toml_text(name)}]")
        lines += [right[name]] if name in right and draw.random() < 0.7 else option_lines(draw, OPTION_NAMES)
    return "\n".join(lines)


def odd(draw: random.Random) -> str:
    return draw.choice(SEEDS)


def key(name: str, draw: random.Random) -> str:
    return toml_text(name) if not name or draw.random() < 0.3 else name


def toml_text(text: str) -> str:
    return f'"{text}"' if not text.isdigit() and not text.replace(".", "").isdigit() else text


def garbled(text: str, draw: random.Random) -> bytes:
    """Sometimes change a few bytes."""
    content = bytearray(text.encode())
    if draw.random() < 0.05:
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.choice(b'"[]{}=\n.#\\\x00\xff\xfe019e_-')
    return bytes(content)


def read(path: Path, reader: Callable[[Path], Any]) -> Any | None:
    """What the reader returns; None after an error whose lines all name the file."""
    try:
        return reader(path)
    except TomlFileError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(line.startswith(f"{path}: ") and len(line) < 3000 for line in lines), lines
        assert all(line.isprintable() for line in lines), lines
        return None


@pytest.fixture(scope="module")
def digits() -> ImageData:
    loaded = load("digits")
    assert isinstance(loaded, ImageData)
    return loaded.take_train(50, 0)


@pytest.mark.parametrize("tens", range(N_GRIDS // 10))
def test_a_generated_grid_file_is_a_grid_or_lines_that_name_the_file(
    tmp_path: Path, tens: int, digits: ImageData
) -> None:
    for number in range(10 * tens, 10 * tens + 10):
        draw = random.Random(number)
        path = tmp_path / f"grid-{number}.toml"
        path.write_bytes(garbled(grid_text(draw), draw))
        grid = read(path, read_grid)
        if grid is not None:
            cells = grid.cells()
            order(cells, grid.priority)
            assert len({cell.id for cell in cells}) == len(cells)
            for cell in cells[:3]:
                check_options(cell)
                if cell.dataset == "digits" and isinstance(cell.crowd, Simulated) and cell.crowd.n_workers < 20:
                    cell_crowd(cell, digits)


@pytest.mark.parametrize("tens", range(N_OPTIONS // 10))
def test_a_generated_options_file_is_options_or_lines_that_name_the_file(tmp_path: Path, tens: int) -> None:
    for number in range(10 * tens, 10 * tens + 10):
        draw = random.Random(number)
        path = tmp_path / f"options-{number}.toml"
        path.write_bytes(garbled(options_text(draw), draw))
        read(path, read_options)


BLOCK = '[[block]]\ndatasets = ["digits"]\nmethods = ["mv", "em"]\nworkers = [3]\nseeds = [0]\ntrain = false\n'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[block.method_options.em]\nmax_iter = [1, [2, [3]]]", "method_options.em.max_iter: method em: max_iter"),
        ("[block.method_options.em]\na.b = 1\n'a.b' = 2", "method_options.em: a.b is given twice"),
        ("[block.other_axes]\ndataset = ['mnist']", "other_axes.dataset: unknown field with other values 'dataset'"),
        ("[block.other_axes]\nn_train = []", "other_axes.n_train: must not be empty"),
        ("[block.other_axes]\nn_train = [5, 9999]", "other_axes.n_train: must be in [1, 1297] for digits, got 9999"),
        ("[block.other_axes]\nn_train = ['x']", 'other_axes.n_train: must be a whole number, got "x"'),
        ("[block.other_axes]\nnetwork = ['']", "block 1: recipe must be given, because a network has one"),
        ("[block.other_axes]\nworker_options = [[1]]", "unknown field with other values 'worker_options'"),
        ("patterns = ['flip']\n[block.pattern_options.flip]\npairs = [[0, 10]]", "flip.pairs: flip pairs name"),
        ("patterns = ['uniform']\n[block.pattern_options.uniform]\ninclude_true = 'x'", "include_true must be true or"),
        ("patterns = ['bimodal']\n[block.pattern_options.bimodal]\ncentres = [1]", "centres must be a list of 2"),
        ("patterns = ['bimodal']\n[block.pattern_options.bimodal]\ndeviations = [0, 1]", "deviations must be above 0"),
        ("assignments = ['power_law']\n[block.assignment_options.power_law]\nlabels_per_item = 3\nexponent = 400",
         "exponent must be at most"),
    ],
)  # fmt: skip
def test_what_no_cell_can_have_is_refused_when_it_is_read(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(BLOCK + lines)
    with pytest.raises(TomlFileError) as caught:
        read_grid(path)
    assert message in str(caught.value)
    assert len(caught.value.lines) == 1


def test_all_wrong_values_of_an_axis_are_named(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(BLOCK.replace("workers = [3]", "workers = [3, 0, 5, -1]"))
    with pytest.raises(TomlFileError) as caught:
        read_grid(path)
    assert [(place[2:], reason) for place, reason in caught.value.problems] == [
        (("workers", 1), "must be at least 1, got 0"),
        (("workers", 3), "must be at least 1, got -1"),
    ]
