"""What the README and the guides show works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from crowdml.cli.main import COMMANDS, parse
from tests.analysis.frames import two_methods

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = {"crowdml": [], "python sweeps/full_grid.py": ["sweep"], "python sweeps/tune_method.py": ["tune"]}


def name_of(document: Path) -> str:
    return document.name


def commands_of(document: Path) -> list[list[str]]:
    """Return the words after `crowdml` of every command in an indented block."""
    pattern = rf"^    ({'|'.join(map(re.escape, SCRIPTS))})( .*?)?(?: +#.*)?$"
    found = re.findall(pattern, document.read_text().replace("\\\n", " "), re.MULTILINE)
    return [[*SCRIPTS[program], *shlex.split(words)] for program, words in found]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_python_examples_of_a_document_run_one_after_the_other(document: Path, tmp_path, monkeypatch) -> None:
    two_methods(tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
        exec(compile(code, document.name, "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_are_understood(document: Path) -> None:
    for words in commands_of(document):
        if "--help" not in words:
            parse(words)


def test_most_commands_are_shown_somewhere() -> None:
    shown = {word for document in DOCUMENTS for words in commands_of(document) for word in words[:1]}
    assert len(shown & {name.split()[0] for name in COMMANDS}) > 5


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", document.read_text()):
        if "://" not in link:
            target = document.parent / link if link else document
            assert target.exists(), link
            assert not anchor or anchor in anchors_of(target), f"{link}#{anchor}"


def test_files_that_are_named_are_there() -> None:
    folders = "crowdml|sweeps|analysis|tests|benchmarks|examples|clusters"
    everything = "".join(document.read_text() for document in DOCUMENTS)
    named = set(re.findall(rf"`((?:{folders})/[\w/]+\.(?:py|toml|yaml))", everything))
    assert len(named) > 5
    assert not [name for name in named if not (ROOT / name).exists()]
