from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.experiment.crowd_types import Real
from sweeps.grid import block_check
from sweeps.grid.grid_file import read_grid
from sweeps.grid.grid_text import preset_to_toml
from sweeps.grid.grids import Block, Preset
from sweeps.grid.presets import PRESETS, grid_cells
from sweeps.grid.toml_file import TomlFileError

EXAMPLE = Path(__file__).parents[3] / "examples" / "my_grid.toml"

BLOCK = """\
[[block]]
datasets = ["digits"]
patterns = ["uniform"]
methods = ["mv"]
seeds = [0]
train = false
"""


def ids(cells: list[Any]) -> list[str]:
    return [cell.id for cell in cells]


def written(text: str, folder: Path) -> Path:
    file = folder / "my_grid.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_comes_back_from_its_text(name: str, tmp_path: Path) -> None:
    preset = PRESETS[name]
    grid = read_grid(written(preset_to_toml(preset), tmp_path))
    assert ids(grid.cells()) == ids(preset.cells())
    assert grid.preset.description == preset.description
    assert len(grid.preset.blocks) == len(preset.blocks)


def test_filter_and_priority_come_back(tmp_path: Path) -> None:
    text = preset_to_toml(PRESETS["laptop"], only='method == "em"', priority=["seed", "-n_workers"])
    grid = read_grid(written(text, tmp_path))
    assert grid.priority == ("seed", "-n_workers")
    assert {cell.method for cell in grid.cells()} == {"em"}


def test_the_example() -> None:
    cells = read_grid(EXAMPLE).cells()
    # 2 patterns x 2 rates x 3 worker counts x 2 missing rates x 3 methods x 3 seeds, without the flips of 9 workers;
    # 3 patterns x 2 worker counts x 3 missing rates x 2 methods x 2 seeds, likewise; 2 crowds x 2 sizes x 2 methods.
    assert len(cells) == (4 * 3 - 2) * 2 * 3 * 3 + (3 * 2 - 1) * 3 * 2 * 2 + 8
    assert Counter(cell.network for cell in cells) == {"cnn_digits": 180, None: 60 + 8}
    em = next(cell for cell in cells if cell.method == "em" and cell.network)
    assert dict(em.method_options) == {"init": "majority", "max_iter": 10}
    assert em.training is not None
    assert (em.training.recipe.epochs, em.training.recipe.milestones) == (10, (5, 8))
    assert {cell.crowd.n_workers for cell in cells if isinstance(cell.crowd, Real)} == {None, 10}


def test_a_preset_is_extended(tmp_path: Path) -> None:
    text = '[[block]]\nextends = "labels"\nworkers = [5]\nseeds = [7]\n[block.method_options.em]\nmax_iter = 50\n'
    cells = read_grid(written(text, tmp_path)).cells()
    assert len(cells) == len(grid_cells("labels", {"workers": (5,), "seeds": (7,)}))
    options = {cell.method: dict(cell.method_options) for cell in cells}
    assert options == {"mv": {}, "em": {"max_iter": 50}, "em_hard": {"init": "majority", "max_iter": 10}}


def test_fields_can_be_replaced_from_outside(tmp_path: Path) -> None:
    cells = read_grid(written(BLOCK, tmp_path)).cells({"seeds": (4, 5), "workers": (3,)})
    assert [(cell.seed, cell.crowd.n_workers) for cell in cells] == [(4, 3), (5, 3)]


def test_a_field_without_a_list_can_be_an_axis(tmp_path: Path) -> None:
    text = BLOCK + "[block.other_axes]\nn_train = [10, 20]\n"
    grid = read_grid(written(text, tmp_path))
    assert sorted(cell.n_train or 0 for cell in grid.cells()) == [10, 10, 20, 20]
    again = read_grid(written(preset_to_toml(grid.preset), tmp_path))
    assert ids(again.cells()) == ids(grid.cells())


def test_a_method_is_known_by_any_of_its_names(tmp_path: Path) -> None:
    text = BLOCK.replace('["mv"]', '["em+base"]') + "[block.method_options.em]\nmax_iter = 3\n"
    assert {cell.method_options for cell in read_grid(written(text, tmp_path)).cells()} == {(("max_iter", 3),)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # What the file says, and the place that is blamed.
        (("methods", 'noise_rates = [0.2, 1.2]\nmethods'), "block 1, noise_rates[1]: must be in [0, 1), got 1.2"),
        (("methods", 'noise_rates = [1.2]\nmethods'), "block 1, noise_rates: must be in [0, 1), got 1.2"),
        (("methods", "missing_rates = [0.5, nan]\nmethods"), "missing_rates[1]: must be a finite number, got nan"),
        (("methods", "workers = [3, 0]\nmethods"), "block 1, workers[1]: must be at least 1, got 0"),
        (("methods", "workers = [3.5]\nmethods"), "block 1, workers[0]: must be a whole number, got 3.5"),
        (("methods", "workers = [true]\nmethods"), "block 1, workers[0]: must be a whole number, got true"),
        (("methods", "workers = 3\nmethods"), "block 1, workers: must be a list, got 3; write [3]"),
        (("seeds = [0]", "seeds = [0, -4]"), "block 1, seeds[1]: must be at least 0, got -4"),
        (("seeds = [0]", 'seeds = [0, "x"]'), 'block 1, seeds[1]: must be a whole number, got "x"'),
        (("seeds = [0]", "seeds = [0, 9223372036854775808]"), "block 1, seeds[1]: must be a whole number of 64 bits"),
        (("seeds = [0]", "seeds = []"), "block 1, seeds: must not be empty"),
        (("seeds = [0]", "sedes = [0]"), "block 1: unknown key 'sedes'; did you mean seeds"),
        (("train = false", "train = 1"), "block 1, train: must be true or false, got 1"),
        (("train = false", "n_train = 9999"), "block 1, n_train: must be in [1, 1297] for digits, got 9999"),
        (("train = false", "epochs = 0"), "block 1, epochs: must be at least 1, got 0"),
        (("train = false", 'network = "cnn88"'), "block 1, network: must be one of cnn_digits"),
        (("train = false", 'missing = "ceil"'), "block 1, missing: must be one of floor, round, bernoulli"),
        (("train = false", "[block.recipe]\nlr = -1.0"), "block 1, recipe.lr: recipe.lr must be above 0, got -1.0"),
        (("train = false", '[block.recipe]\nlr = "x"'), 'block 1, recipe.lr: must be a number, got "x"'),
        (("train = false", "[block.recipe]\nlrr = 1"), "block 1, recipe: unknown key 'lrr'; did you mean lr"),
        (("train = false", '[block.recipe]\naugment = "flp"'), "recipe.augment: must be 'none', 'flip', 'crop' or"),
        (("train = false", "recipe = {patience = 2}"), "block 1, recipe.patience: recipe.patience and keep="),
        (("train = false", "recipe = {patience = 2, lr = 1}"), "block 1, recipe.patience: recipe.patience and keep="),
        (("train = false", "[block.recipe]\nSPACE = 1"), "block 1, recipe: unknown key 'SPACE'"),
        (("train = false", "recipe = 3"), "block 1, recipe: must be a table, got 3"),
        (('"uniform"', '"uniform", "uniforms"'), "block 1, patterns[1]: must be one of uniform, bimodal, flip"),
        (('"digits"', '"digits", "digit"'), "block 1, datasets[1]: must be one of"),
        (('"digits"', '"bluebird"'), 'block 1, patterns: must be "real", because bluebird has real workers'),
        (('["mv"]', '["mv","labnett"]'), "block 1, methods[1]: unknown method 'labnett'; did you mean labnet"),
        (('["mv"]', '["mv", "labnet"]'), "block 1, methods[1]: needs a network and a recipe"),
        (('["mv"]', '["em+bass"]'), "block 1, methods[0]: unknown learner 'bass'; did you mean base"),
        (("train", 'worker_models = ["homogenous"]\ntrain'), "block 1, worker_models: must be one of homogeneous"),
        (("train", 'assignments = ["balanced"]\ntrain'), "assignments: assignment balanced needs the assignment"),
        (
            ("train", 'assignments = ["balanced"]\nassignment_options.balanced.labels_per_item = 30\ntrain'),
            "1, assignment_options.balanced.labels_per_item: labels_per_item must be at most n_workers = 3, got 30",
        ),
        (
            ("train", 'worker_models = ["hammer_spammer"]\nworker_options.hammer_spammer = {hamers = 0.5}\ntrain'),
            "block 1, worker_options.hammer_spammer.hamers: unknown option of worker model hammer_spammer 'hamers';",
        ),
        (
            ("train", 'worker_models = ["homogeneous", "hammer_spammer"]\n'
             "worker_options.hammer_spammer = {hammers = 1.5}\ntrain"),
            "block 1, worker_options.hammer_spammer.hammers: hammers must be in [0, 1], got 1.5",
        ),
        (
            ("train", "method_options.mv.max_iter = 3\ntrain"),
            "block 1, method_options.mv.max_iter: unknown option of method mv 'max_iter'",
        ),
        (
            ("train", "pattern_options.uniform.cntre = 3\ntrain"),
            "block 1, pattern_options.uniform.cntre: unknown option of pattern uniform 'cntre'",
        ),
        (
            ("train", "method_options.em.max_iter = 3\ntrain"),
            "block 1, method_options.em: em is not one of the methods of the block (mv)",
        ),
        (("train", "method_options.emm.max_iter = 3\ntrain"), "block 1, method_options.emm: unknown method 'emm'"),
        (("train", "method_options.mv = 3\ntrain"), "block 1, method_options.mv: must be a table, got 3"),
        (("train", "method_options.mv.x = {y = 1}\ntrain"), "method_options.mv.x.y: unknown option of method mv"),
        (("train", "method_options.mv.x = {}\ntrain"), "block 1, method_options.mv.x: must be a text, a number, true"),
        (("train", "method_options.mv.x = [1, 1979-05-27]\ntrain"), "method_options.mv.x: must be a text, a number"),
        (("train", "method_options.mv.x = inf\ntrain"), "method_options.mv.x: must be a finite number, got inf"),
        (("train", "other_axes.missing = ['round', 'ceil']\ntrain"), "other_axes.missing: must be one of floor, round"),
        (("train", "other_axes.missing = 'round'\ntrain"), "other_axes.missing: must be a list, got"),
        (
            ("train", "[block.method_options.em]\n[block.method_options.dawid_skene]\n[block.recipe]\n#"),
            "block 1, method_options: em, dawid_skene name one method more than once",
        ),
        (("train", "noise_rates = [0.5]\nextends = 'labls'\ntrain"), "block 1, extends: unknown preset 'labls'; did"),
        (('datasets = ["digits"]', ""), "block 1: datasets must be given; or give extends = the name of a preset"),
        (("[[block]]", "[block]"), "block: must be one or more tables, each below a line [[block]] with two brackets"),
        (("[[block]]", "[[blocks]]"), ": unknown key 'blocks'; did you mean block"),
        (("[[block]]", "only = 'metod == 1'\n[[block]]"), "only: 'metod' at column 1: unknown axis 'metod'"),
        (("[[block]]", "\nonly = 'print(1) == 1'\n[[block]]"), "only: 'print(1)' at column 1 is not allowed"),
        (("[[block]]", "priority = ['seed','sede']\n[[block]]"), "priority[1]: priority 'sede': unknown axis 'sede'"),
        (("[[block]]", "description = 3\n[[block]]"), "description: must be a text, got 3"),
        (("seeds = [0]", "seeds = [0"), "cannot be read as TOML: Unclosed array (at line 6, column 1)"),
        (("seeds = [0]", "seeds = [0, 1]\nseeds = [2]"), "Cannot overwrite a value (at line 6, column 12)"),
        (("train = false", "train = "), "cannot be read as TOML: Invalid value (at line 6, column"),
    ],
)  # fmt: skip
def test_an_error_names_the_file_and_the_place(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    file = written(BLOCK.replace(*change, 1), tmp_path)
    with pytest.raises(TomlFileError) as raised:
        read_grid(file).cells()
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines)
    assert message in str(raised.value)


def test_the_block_that_is_wrong_is_named(tmp_path: Path) -> None:
    text = BLOCK + "\n" + BLOCK.replace("seeds = [0]", "seeds = [0, 1, -1]")
    with pytest.raises(TomlFileError, match=r"my_grid.toml: block 2, seeds\[2\]: must be at least 0, got -1$"):
        read_grid(written(text, tmp_path))


def test_an_error_is_found_in_a_preset_that_is_extended(tmp_path: Path) -> None:
    text = '[[block]]\nextends = "labels"\nmissing_rates = [0.1, 0.2, 1.0]\n[block.method_options.em]\nmax_iter = 5\n'
    with pytest.raises(TomlFileError, match=r"block 1, missing_rates\[2\]: must be in \[0, 1\), got 1.0$"):
        read_grid(written(text, tmp_path))


def test_all_problems_of_a_file_are_listed(tmp_path: Path) -> None:
    text = BLOCK.replace("seeds = [0]", 'seeds = ["x"]\nsedes = 1') + BLOCK.replace("train = false", "train = 0")
    with pytest.raises(TomlFileError) as raised:
        read_grid(written(text, tmp_path))
    assert [place for place, _ in raised.value.problems] == [
        ("block", 0, "seeds", 0),
        ("block", 0),
        ("block", 1, "train"),
    ]
    assert len(str(raised.value).splitlines()) == 3
    two = BLOCK.replace("[0]", "[-1]") + BLOCK.replace('["uniform"]', '["flp"]')
    with pytest.raises(TomlFileError) as raised:
        read_grid(written(two, tmp_path))
    assert [place for place, _ in raised.value.problems] == [("block", 0, "seeds"), ("block", 1, "patterns")]


def test_no_more_than_ten_problems_are_listed(tmp_path: Path) -> None:
    with pytest.raises(TomlFileError) as raised:
        read_grid(written(BLOCK.replace("[0]", str(["x"] * 25)), tmp_path))
    lines = str(raised.value).splitlines()
    assert len(lines) == 11
    assert lines[-1].endswith("my_grid.toml: 15 more problems")


ODD = {
    "empty": b"",
    "a binary file": b"\xff\xfe\x00",
    "arrays in arrays": b"only = " + b"[" * 5000,
    "tables in tables": BLOCK.encode() + b"method_options.mv" + b".a" * 5000 + b" = 1",
    "a number of 5000 digits": b"description = " + b"9" * 5000,
    "a hexadecimal number of 5000 digits": BLOCK.replace("[0]", "[0x" + "f" * 5000 + "]").encode(),
    "an option of 5000 digits": BLOCK.encode() + b"method_options.mv.x = 0x" + b"f" * 5000,
    "a noise rate of 400 digits": BLOCK.encode() + b"noise_rates = [1" + b"0" * 400 + b"]",
    "a list for a number": b"[[block]]\nextends='labels'\n[block.method_options.em]\nmax_iter=[1,[2,[3]]]",
    "a text for a number": b"[[block]]\nextends='labels'\n[block.method_options.em]\nmax_iter='x'",
    "a line end in a key": b'"a\\nb" = 1\n' + BLOCK.encode(),
    "a block that is a number": b"block = [1, 2]",
}  # fmt: skip


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_an_odd_file_ends_in_lines_with_its_name(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "my_grid.toml"
    file.write_bytes(content)
    with pytest.raises(TomlFileError) as raised:
        read_grid(file)
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{file}: ") and len(line) < len(str(file)) + 500 for line in lines)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TomlFileError, match=r"none.toml: cannot be read: No such file or directory"):
        read_grid(tmp_path / "none.toml")
    with pytest.raises(TomlFileError, match="cannot be read: Is a directory"):
        read_grid(tmp_path)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert len(read_grid(written("\ufeff" + BLOCK, tmp_path)).cells()) == 2


@pytest.mark.parametrize("place", ["methods", "options"])
def test_a_grid_file_imports_nothing(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that would be run by its import is not, unless the caller says so."""
    (tmp_path / "hostile_module.py").write_text("raise SystemExit('code of the grid file was run')")
    monkeypatch.syspath_prepend(tmp_path)
    text = {
        "methods": BLOCK.replace('["mv"]', '["mv", "hostile_module:Class"]'),
        "options": BLOCK + '[block.method_options."hostile_module:Class"]\nx = 1\n',
    }[place]
    with pytest.raises(TomlFileError, match=r"block 1, method.* is a class to import, .* give --allow-imports"):
        read_grid(written(text, tmp_path))
    assert "hostile_module" not in sys.modules
    with pytest.raises(SystemExit, match="was run"):
        read_grid(written(text, tmp_path), allow_imports=True)


def test_imports_can_be_allowed(tmp_path: Path) -> None:
    text = (
        BLOCK.replace('["mv"]', '["tests.cells:Slow"]') + '[block.method_options."tests.cells:Slow"]\nseconds = 0.1\n'
    )
    cells = read_grid(written(text, tmp_path), allow_imports=True).cells()
    assert [dict(cell.method_options) for cell in cells] == [{"seconds": 0.1}] * 2


def test_an_option_that_is_none_cannot_be_written() -> None:
    block = Block(datasets=("digits",), methods=("em",), train=False, method_options={"em": {"max_iter": None}})
    with pytest.raises(ValueError, match=r"method_options.em.max_iter is None, which a grid file cannot hold"):
        preset_to_toml(Preset("none", (block,)))


BLOCKS = st.builds(
    Block,
    datasets=st.lists(st.sampled_from(["digits", "mnist", "cifar10_labels"]), min_size=1).map(tuple),
    patterns=st.lists(st.sampled_from(["uniform", "bimodal"]), min_size=1, max_size=2).map(tuple),
    noise_rates=st.lists(st.floats(0, 0.99), min_size=1, max_size=3).map(tuple),
    workers=st.lists(st.integers(1, 50), min_size=1, max_size=3).map(tuple),
    methods=st.lists(st.sampled_from(["mv", "em", "glad"]), min_size=1, max_size=3).map(tuple),
    seeds=st.lists(st.integers(0, 2**40), min_size=1, max_size=2).map(tuple),
    train=st.booleans(),
    n_train=st.none() | st.integers(1, 1000),
    epochs=st.none() | st.integers(1, 300),
    missing=st.sampled_from(["floor", "round", "bernoulli"]),
    method_options=st.just({}) | st.builds(lambda n: {"em": {"max_iter": n}}, st.integers(1, 9)),
)


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))), st.lists(BLOCKS, min_size=1, max_size=3))
def test_any_grid_comes_back(tmp_path_factory: pytest.TempPathFactory, description: str, blocks: list[Block]) -> None:
    preset = Preset(description, tuple(blocks))
    grid = read_grid(written(preset_to_toml(preset), tmp_path_factory.getbasetemp()))
    assert ids(grid.cells()) == ids(preset.cells())
    assert grid.preset.description == description


def test_options_are_checked_once_however_many_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Any] = []
    monkeypatch.setattr(block_check, "check_options", checked.append)
    text = BLOCK.replace('["mv"]', '["mv", "em"]').replace("[0]", str(list(range(500))))
    read_grid(written(text, tmp_path))
    assert [cell.method for cell in checked] == ["mv", "em"]
    with pytest.raises(TomlFileError, match=r"block 1, seeds\[500\]: must be at least 0, got -1$"):
        read_grid(written(text.replace("499]", "499, -1]"), tmp_path))
