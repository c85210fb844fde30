"""Which cells a command line means."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdml.cli.display import Console
from crowdml.cli.main import parse
from crowdml.cli.sweeping.grid_choice import Chosen, choose_cells, with_options, write_grid
from sweeps.grid.options_file import MethodOptions
from sweeps.grid.presets import PRESETS

LAPTOP = ["--preset", "laptop"]


def choose(*arguments: str, gpus: float = 0) -> Chosen:
    return choose_cells(parse(["sweep", *arguments]), gpus, "this machine", Console(quiet=True))


def test_without_a_preset_the_gpus_decide() -> None:
    assert [cell.id for cell in choose().cells] == [cell.id for cell in PRESETS["laptop"].cells()]
    assert [cell.id for cell in choose(gpus=2).cells] == [cell.id for cell in PRESETS["paper"].cells()]


def test_a_selection_of_the_cells() -> None:
    cells, priority = choose(*LAPTOP, "--only", 'method == "labnet" and n_workers > 3', "--priority", "n_workers-")
    assert {(cell.method, cell.crowd.n_workers) for cell in cells} == {("labnet", 5), ("labnet", 9)}
    assert list(priority) == ["-n_workers"]
    with pytest.raises(ValueError, match="holds for none of the 135 cells of the grid"):
        choose(*LAPTOP, "--only", "n_workers > 100")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "3", "0"], r"--workers: n_workers must be at least 1, got 0"),
        (
            ["--seeds", "9223372036854775808"],
            r"--seeds: seed must be at most 9223372036854775807",
        ),
        (["--noise-rates", "nan"], r"--noise-rates: noise_rate must be a number, got nan"),
        (
            ["--methods", "labnett"],
            r"--methods: method: unknown method 'labnett'; did you mean labnet.*crowdml methods lists",
        ),
        (["--n-train", "9999"], r"--n-train: n_train must be in \[1, 1297\] for digits, got 9999"),
        (["--network", ""], r"--network: network must be one of"),
        (["--patterns", "[red]"], r"--patterns: pattern must be one of"),
    ],
)
def test_an_error_names_the_option_that_was_given(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        choose(*LAPTOP, *words)


def test_options_of_a_file_change_exactly_what_they_name(tmp_path: Path) -> None:
    before = {
        (cell.method, cell.crowd.n_workers, cell.crowd.pattern, cell.seed): cell for cell in choose(*LAPTOP).cells
    }
    (tmp_path / "best.toml").write_text("[em]\nmax_iter = 3\n\n[recipe.digits]\nepochs = 30\n")
    after = choose(*LAPTOP, "--method-options", str(tmp_path / "best.toml")).cells
    assert len(after) == len(before)
    for cell in after:
        old = before[cell.method, cell.crowd.n_workers, cell.crowd.pattern, cell.seed]
        assert cell.training is not None
        # The schedule turns in proportion: after 10 and 20 epochs of 30 instead of 5 and 10 of 15.
        assert (cell.training.recipe.epochs, cell.training.recipe.milestones) == (30, (10, 20))
        assert cell.training.recipe.lr == (old.training.recipe.lr if old.training else None)
        # What the preset sets and the file does not stays.
        expected = {"init": "majority", "max_iter": 3} if cell.method == "em" else dict(old.method_options)
        assert dict(cell.method_options) == expected


def test_a_file_that_says_nothing_changes_nothing() -> None:
    cells = choose(*LAPTOP).cells
    assert with_options(cells, MethodOptions()) == cells


def test_a_grid_that_was_written_is_the_grid(tmp_path: Path) -> None:
    path = str(tmp_path / "grid.toml")
    arguments = [*LAPTOP, "--workers", "3", "7", "--only", "seed < 2", "--priority", "seed"]
    write_grid(path, parse(["sweep", *arguments]), 0, "this machine", Console(quiet=True))
    written, expected = choose("--grid", path), choose(*arguments)
    assert [cell.id for cell in written.cells] == [cell.id for cell in expected.cells]
    assert list(written.priority) == ["seed"]
    fewer = choose("--grid", path, "--workers", "7", "--priority", "method").cells
    assert {cell.id for cell in fewer} < {cell.id for cell in expected.cells}


def test_two_grids_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--preset and --grid both name a grid"):
        choose(*LAPTOP, "--grid", "examples/my_grid.toml")
    with pytest.raises(ValueError, match="cannot write"):
        write_grid(str(tmp_path / "no" / "g.toml"), parse(["sweep", *LAPTOP]), 0, "", Console(quiet=True))
