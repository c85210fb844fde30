"""The `crowdml` command: help, suggestions, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from crowdml.cli.labels import simulate
from crowdml.cli.main import COMMANDS, main, parse

SIMULATE = ["simulate", "--items", "4", "--workers", "2", "--classes", "2", "--rate", "0", "--out", "-"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_shows_its_options_and_an_example(name: str, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main([*name.split(), "--help"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert f"usage: crowdml {name} " in printed
    assert f"  crowdml {name}" in printed.partition("example")[2]


def test_help_names_every_command(capsys) -> None:
    for arguments, wanted in ((["--help"], COMMANDS), (["results", "--help"], ["verify", "merge"])):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0
        printed = capsys.readouterr().out
        assert all(f"\n  {name} " in printed for name in wanted)


LIGHT = ["", "results", "results merge", "results diff", "results export", "status", "watch", "analyze"]
HEAVY = ["torch", "ray", "matplotlib"]


@pytest.mark.parametrize(
    ("names", "libraries"),
    [
        (LIGHT, [*HEAVY, "numpy", "pandas", "scipy", "numba"]),
        (["sweep", "results verify"], [*HEAVY, "pandas", "scipy.stats"]),
        (["simulate"], HEAVY),
    ],
)
def test_help_comes_without_heavy_libraries(names: list[str], libraries: list[str]) -> None:
    code = f"""
import contextlib, io, sys
from crowdml.cli.main import main
for name in {names}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([*name.split(), "--help"])
print(sorted(set({libraries}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "crowdml: error: a command is missing; see crowdml --help"),
        (["agregate"], "crowdml: error: unknown command 'agregate'; did you mean aggregate?"),
        (["plan"], "crowdml plan: error: the following arguments are required: ANSWERS; see crowdml plan --help"),
        (["methods", "--knd", "x"], "crowdml methods: error: unknown argument --knd; did you mean --kind?"),
        (["methods", "--kin", "learner"], "crowdml methods: error: unknown argument --kin; did you mean --kind?"),
        (["sweep", "--preset", "laptp", "--backend", "inline"], "unknown preset 'laptp'; did you mean laptop"),
        (["tune", "--method", "em", "--dataset", "digit"], "unknown data set 'digit'; did you mean digits"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "code", "printed"),
    [
        (ValueError("two\nlines"), 2, "crowdml simulate: error: two lines\n"),
        (FileNotFoundError("no file"), 2, "crowdml simulate: error: no file\n"),
        (
            MemoryError("Unable to allocate"),
            2,
            "crowdml simulate: error: not enough memory for these sizes: Unable to allocate\n",
        ),
        (KeyboardInterrupt(), 130, "crowdml simulate: stopped\n"),
        (KeyboardInterrupt("go on"), 130, "crowdml simulate: go on\n"),
    ],
)
def test_errors_become_exit_codes(raised: BaseException, code: int, printed: str, capsys, monkeypatch) -> None:
    def run(_: object) -> None:
        raise raised

    monkeypatch.setattr(simulate, "run", run)
    assert main(SIMULATE) == code
    assert capsys.readouterr().err == printed


def test_a_bug_is_no_bad_input(monkeypatch) -> None:
    monkeypatch.setattr(simulate, "run", lambda _: {}["missing"])
    with pytest.raises(KeyError):
        main(SIMULATE)


def test_termination_runs_clean_up_and_exits_with_143(monkeypatch) -> None:
    cleaned = []

    def run(_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            cleaned.append(True)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(simulate, "run", run)
    assert main(SIMULATE) == 143
    assert cleaned
    assert signal.getsignal(signal.SIGTERM) == before


def test_exit_codes_of_commands_are_passed_on(monkeypatch) -> None:
    for returned, code in ((None, 0), (0, 0), (1, 1), (3, 3)):
        monkeypatch.setattr(simulate, "run", lambda _, returned=returned: returned)
        assert main(SIMULATE) == code


def test_a_script_shows_the_name_that_its_user_called() -> None:
    options = parse(["sweep", "--seeds", "0"], script="python sweeps/full_grid.py")
    assert (options.program, options.words) == ("python sweeps/full_grid.py", ["--seeds", "0"])
    assert parse(["results", "compact", "r"]).program == "crowdml results compact"


@pytest.mark.parametrize("script", ["sweeps/full_grid.py", "sweeps/tune_method.py"])
def test_scripts_are_the_command(script: str) -> None:
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: python {script} ")
    wrong = subprocess.run([sys.executable, script, "--nonsense"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"python {script}: error: ")
