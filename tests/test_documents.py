"""What the README shows must work."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from crowdml.__main__ import parser as crowdml_parser
from crowdml.cli.results_folder.main import parser as results_parser
from crowdml.cli.sweeping import sweep_options as command_line
from crowdml.cli.sweeping.tune_options import parser as tuning_parser
from crowdml.methods.registry import REGISTRY
from sweeps.grid.presets import PRESETS
from tests.analysis.frames import two_methods

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDES = {
    name: (ROOT / "docs" / f"{name}.md").read_text()
    for name in ("aggregation", "learning", "sweeps", "tuning", "cluster")
}
EVERYTHING = README + "".join(GUIDES.values())


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_examples_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_methods(tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize(("guide", "at_least"), [("aggregation", 2), ("learning", 1)])
def test_the_examples_of_a_guide_run_one_after_the_other(guide: str, at_least: int, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", GUIDES[guide], re.DOTALL)
    assert len(examples) >= at_least
    names: dict[str, object] = {}
    for code in examples:
        exec(compile(code, f"{guide}.md", "exec"), names)


def test_presets_and_methods_are_all_named() -> None:
    for name, preset in PRESETS.items():
        (n_cells,) = re.findall(rf"^\| `{name}` \| ([\d,]+) \|", README, re.MULTILINE)
        assert int(n_cells.replace(",", "")) == len(preset.cells())
    assert all(f"`{name}`" in README for name in REGISTRY)
    learned = [name for name, entry in REGISTRY.items() if entry.kind in ("learner", "crowd")]
    assert all(f"`{name}`" in GUIDES["learning"] for name in learned)


@pytest.mark.parametrize(
    ("command", "parser", "at_least"),
    [
        ("python sweeps/full_grid.py", command_line.parser, 10),
        ("python sweeps/tune_method.py", tuning_parser, 3),
        ("python -m sweeps", results_parser, 6),
        ("crowdml", crowdml_parser, 13),
    ],
)
def test_commands_are_understood(command: str, parser: Callable[[], argparse.ArgumentParser], at_least: int) -> None:
    found = re.findall(rf"^    {re.escape(command)}( .*?)?(?: +#.*)?$", EVERYTHING, re.MULTILINE)
    assert len(found) >= at_least
    for arguments in found:
        words = shlex.split(arguments)
        if words != ["--help"]:
            parser().parse_known_args(words) if "verify" in words else parser().parse_args(words)


def test_links_lead_somewhere() -> None:
    for text, folder in [(README, ROOT), *((guide, ROOT / "docs") for guide in GUIDES.values())]:
        links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
        assert not [link for link in links if "://" not in link and not (folder / link).exists()]


def test_files_that_are_named_are_there() -> None:
    named = set(
        re.findall(
            r"`((?:crowdml|sweeps|analysis|tests|benchmarks|examples|clusters)/[\w/]+\.(?:py|toml|yaml))", EVERYTHING
        )
    )
    assert len(named) > 5
    assert not [name for name in named if not (ROOT / name).exists()]
