"""What the README shows must work."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from crowdml.__main__ import parser
from crowdml.registry import REGISTRY
from sweeps import full_grid
from sweeps.grid.presets import PRESETS
from tests.analysis.frames import two_methods

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("aggregation", "learning")}


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


def test_commands_are_understood() -> None:
    commands = re.findall(r"^    python sweeps/full_grid\.py(.*?)(?:#.*)?$", README, re.MULTILINE)
    assert len(commands) >= 4
    for arguments in commands:
        words = arguments.split()
        if words != ["--help"]:
            full_grid.parser().parse_args(words)


def test_commands_of_crowdml_are_understood() -> None:
    text = README + "".join(GUIDES.values())
    commands = re.findall(r"^    crowdml (\w+ .*?|\w+)\s*(?:#.*)?$", text, re.MULTILINE)
    assert len(commands) >= 13
    for arguments in commands:
        parser().parse_args(arguments.split())


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert all((ROOT / link).exists() for link in links if "://" not in link), os.getcwd()
