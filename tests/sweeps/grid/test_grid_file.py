from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.grid.grid_file import GridFileError, read_grid
from sweeps.grid.grid_text import preset_to_toml
from sweeps.grid.grids import Block, Preset
from sweeps.grid.presets import PRESETS, grid_cells

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
    assert {cell.crowd.n_workers for cell in cells if cell.crowd.pattern == "real"} == {None, 10}


def test_a_preset_is_extended(tmp_path: Path) -> None:
    text = '[[block]]\nextends = "labels"\nworkers = [5]\nseeds = [7]\n[block.method_options.em]\nmax_iter = 50\n'
    cells = read_grid(written(text, tmp_path)).cells()
    assert len(cells) == len(grid_cells("labels", {"workers": (5,), "seeds": (7,)}))
    options = {cell.method: dict(cell.method_options) for cell in cells}
    assert options == {"mv": {}, "em": {"max_iter": 50}, "em_hard": {"init": "majority", "max_iter": 10}}


def test_fields_can_be_replaced_from_outside(tmp_path: Path) -> None:
    cells = read_grid(written(BLOCK, tmp_path)).cells({"seeds": (4, 5), "workers": (3,)})
    assert [(cell.seed, cell.crowd.n_workers) for cell in cells] == [(4, 3), (5, 3)]


def test_a_method_is_known_by_any_of_its_names(tmp_path: Path) -> None:
    text = BLOCK.replace('["mv"]', '["em+base"]') + "[block.method_options.em]\nmax_iter = 3\n"
    assert {cell.method_options for cell in read_grid(written(text, tmp_path)).cells()} == {(("max_iter", 3),)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # What the file says, and the line that is blamed.
        (("methods", 'noise_rates = [0.2, 1.2]\nmethods'), "4: noise_rates: must be in [0, 1), got 1.2"),
        (("methods", "noise_rates = [\n  0.2,\n  # too much\n  1.2,\n]\nmethods"), "7: noise_rates: must be in [0, 1)"),
        (("methods", "missing_rates = [0.5, nan]\nmethods"), "4: missing_rates: must be a finite number, got nan"),
        (("methods", "workers = [3, 0]\nmethods"), "4: workers: must be at least 1, got 0"),
        (("methods", "workers = [3.5]\nmethods"), "4: workers: must be a whole number, got 3.5"),
        (("methods", "workers = [true]\nmethods"), "4: workers: must be a whole number, got true"),
        (("methods", "workers = 3\nmethods"), "4: workers: must be a list, got 3; write [3]"),
        (("seeds = [0]", "seeds = [0, -4]"), "5: seeds: must not be negative, got -4"),
        (("seeds = [0]", "seeds = []"), "5: seeds: must not be empty"),
        (("seeds = [0]", "sedes = [0]"), "5: sedes: unknown key 'sedes'; did you mean seeds"),
        (("train = false", "train = 1"), "6: train: must be true or false, got 1"),
        (("train = false", "n_train = 9999"), "6: n_train: must be in [1, 1297] for digits, got 9999"),
        (("train = false", "epochs = 0"), "6: epochs: must be at least 1, got 0"),
        (("train = false", 'network = "cnn88"'), "6: network: unknown network 'cnn88'; did you mean cnn8"),
        (("train = false", 'missing = "ceil"'), "6: missing: unknown missing rule 'ceil'"),
        (("train = false", "[block.recipe]\nlr = -1.0"), "7: recipe.lr: must be above 0, got -1.0"),
        (("train = false", '[block.recipe]\nlr = "x"'), '7: recipe.lr: must be a number, got "x"'),
        (("train = false", "[block.recipe]\nlrr = 1"), "7: recipe.lrr: unknown key 'lrr'; did you mean lr"),
        (("train = false", '[block.recipe]\naugment = "flp"'), "7: recipe.augment: must be one of 'none', 'flip'"),
        (("train = false", "recipe = {patience = 2}"), '6: recipe.patience: recipe.patience and keep="best" need'),
        (("train = false", "[block.recipe]\nSPACE = 1"), "7: recipe.SPACE: unknown key 'SPACE'"),
        (("train = false", "recipe = 3"), "6: recipe: must be a table, got 3"),
        (('"uniform"', '"uniform", "uniforms"'), "3: patterns: unknown noise pattern 'uniforms'; did you mean uniform"),
        (('"digits"', '"digits", "digit"'), "2: datasets: unknown data set 'digit'; did you mean digits"),
        (('"digits"', '"bluebird"'), '3: patterns: bluebird is a crowd of real workers; its pattern is "real"'),
        (('["mv"]', '[\n"mv",\n"labnett"]'), "6: methods: unknown method 'labnett'; did you mean labnet"),
        (('["mv"]', '["mv", "labnet"]'), "4: methods: labnet trains a network; give network and recipe"),
        (('["mv"]', '["em+bass"]'), "4: methods: unknown learner 'bass'; did you mean base"),
        (("train", 'worker_models = ["homogenous"]\ntrain'), "6: worker_models: unknown worker model 'homogenous'"),
        (("train", 'assignments = ["balanced"]\ntrain'), "6: assignments: balanced needs the assignment option"),
        (
            ("train", 'assignments = ["balanced"]\nassignment_options.balanced.labels_per_item = 30\ntrain'),
            "7: assignment_options.balanced.labels_per_item: must be at most n_workers = 3, got 30",
        ),
        (
            ("train", 'worker_models = ["hammer_spammer"]\nworker_options.hammer_spammer = {hamers = 0.5}\ntrain'),
            "7: worker_options.hammer_spammer.hamers: unknown option of worker model hammer_spammer 'hamers'; did you",
        ),
        (
            ("train", 'worker_models = ["hammer_spammer"]\nworker_options.hammer_spammer = {hammers = 1.5}\ntrain'),
            "7: worker_options.hammer_spammer.hammers: must be in [0, 1], got 1.5",
        ),
        (
            ("train", "method_options.mv.max_iter = 3\ntrain"),
            "6: method_options.mv.max_iter: unknown option of method mv 'max_iter'",
        ),
        (
            ("train", "pattern_options.uniform.cntre = 3\ntrain"),
            "6: pattern_options.uniform.cntre: unknown option of pattern uniform 'cntre'",
        ),
        (
            ("train", "method_options.em.max_iter = 3\ntrain"),
            "6: method_options.em: the block has no em among its methods (mv)",
        ),
        (("train", "method_options.emm.max_iter = 3\ntrain"), "6: method_options.emm: unknown method 'emm'"),
        (("train", "method_options.mv = 3\ntrain"), "6: method_options.mv: must be a table of options, got 3"),
        (("train", "method_options.mv.x = {y = 1}\ntrain"), "6: method_options.mv.x: must be a text, a number, true"),
        (("train", "method_options.mv.x = [1, 1979-05-27]\ntrain"), "6: method_options.mv.x: must be a text, a number"),
        (("train", "noise_rates = [0.5]\nextends = 'labls'\ntrain"), "7: extends: unknown preset 'labls'; did you"),
        (('datasets = ["digits"]', ""), "1: datasets is missing, or extends with the name of a preset"),
        (("[[block]]", "[block]"), "1: write [[block]], in two brackets"),
        (("[[block]]", "[[blocks]]"), "1: blocks: unknown key 'blocks'; did you mean block"),
        (("[[block]]", "only = 'metod == 1'\n[[block]]"), "1: only: 'metod' at column 1: unknown axis 'metod'"),
        (("[[block]]", "\nonly = 'print(1) == 1'\n[[block]]"), "2: only: 'print(1)' at column 1 is not allowed"),
        (("[[block]]", "priority = ['seed',\n'sede']\n[[block]]"), "2: priority: priority 'sede': unknown axis 'sede'"),
        (("[[block]]", "description = 3\n[[block]]"), "1: description: must be a text, got 3"),
        (("seeds = [0]", "seeds = [0"), "6: Unclosed array at column 1"),
        (("seeds = [0]", "seeds = [0, 1]\nseeds = [2]"), "6: Cannot overwrite a value at column 12"),
        (("train = false", "train = "), "6: Invalid value at column"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_with_file_line_and_key(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    file = written(BLOCK.replace(*change, 1), tmp_path)
    with pytest.raises(GridFileError) as raised:
        read_grid(file).cells()
    text = str(raised.value)
    assert "\n" not in text
    assert text.startswith(f"{file}:")
    assert message in text.removeprefix(str(tmp_path))


def test_the_block_that_is_wrong_is_named(tmp_path: Path) -> None:
    text = BLOCK + "\n" + BLOCK.replace("seeds = [0]", "seeds = [0, 1, -1]")
    with pytest.raises(GridFileError, match=r"my_grid.toml:12: seeds: must not be negative, got -1"):
        read_grid(written(text, tmp_path))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(GridFileError, match=r"cannot read grid file .*none.toml"):
        read_grid(tmp_path / "none.toml")
    with pytest.raises(GridFileError, match=r"a grid has at least one table \[\[block\]\]"):
        read_grid(written("", tmp_path))
    binary = tmp_path / "my_grid.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GridFileError, match="cannot read grid file"):
        read_grid(binary)


@pytest.mark.parametrize("place", ["methods", "options"])
def test_a_grid_file_imports_nothing(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that would be run by its import is not, unless the caller says so."""
    (tmp_path / "hostile_module.py").write_text("raise SystemExit('code of the grid file was run')")
    monkeypatch.syspath_prepend(tmp_path)
    text = {
        "methods": BLOCK.replace('["mv"]', '["mv", "hostile_module:Class"]'),
        "options": BLOCK + '[block.method_options."hostile_module:Class"]\nx = 1\n',
    }[place]
    line = {"methods": 4, "options": 7}[place]
    with pytest.raises(GridFileError, match=f"my_grid.toml:{line}: .* is a class to import, .* give --allow-imports"):
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
    with pytest.raises(ValueError, match=r"method_options.em.max_iter is None, which a grid file cannot say"):
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
