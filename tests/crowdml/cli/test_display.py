"""Texts from outside are printed as they are."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.table import Table

import crowdml.cli
from crowdml.cli.display import Console, show, speak, table
from crowdml.support.printable import printable

ODD = ("/data/[bold]x[/bold]/[/nothing]", ":smile: [link=x]", "[1]", "\\[x]")


@pytest.mark.parametrize("text", ODD)
def test_brackets_stay(text: str) -> None:
    output = io.StringIO()
    console = Console(file=output, width=200)
    speak(console, text)
    console.print(text)
    show(console, table(["[head]"], [[text]]))
    drawn = Table("[head]", title="[title]")
    drawn.add_row(text)
    console.print(drawn)
    assert output.getvalue().count(text) == 4
    assert output.getvalue().count("[head]") == 2
    assert "[title]" in output.getvalue()


def test_control_characters_are_escaped() -> None:
    output = io.StringIO()
    console = Console(file=output, width=200)
    speak(console, "a\x1b[2Jb\udcff\nc")
    console.print("d\x07\u202e")
    assert output.getvalue() == "a\\x1b[2Jb\\udcff\nc\nd\\x07\\u202e\n"
    assert printable("é 名\n", keep="\n") == "é 名\n"


def test_all_commands_print_through_one_console() -> None:
    folder = Path(crowdml.cli.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name != "display.py":
            assert not re.search(r"from rich.console import.*\bConsole\b|rich\.markup", path.read_text()), path
