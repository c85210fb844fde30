"""Disks that are full, folders that may not be written or vanish, and damaged files: a clear message, nothing lost.

Without Ray: a trial writes by the same code.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sweeps.store.result_store import ResultStore
from tests.cluster.nodes import Command, wait_until
from tests.cluster.results import assert_complete, assert_same, n_attempts

SLOW = ["--preset", "labels", "--datasets", "digits", "--patterns", "uniform", "--workers", "3", "--missing-rates", "0"]
SLOW += ["--methods", "tests.cells:Slow"]
SECONDS = 40
"""A run that cannot write ends within some ten; that leaves room for a busy machine."""


def seeds(count: int) -> list[str]:
    return ["--seeds", *map(str, range(count))]


def mount(folder: Path, options: str) -> None:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount a file system: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=4m")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("undisturbed") / "r"
    assert Command([*SLOW, *seeds(15)], results, None).wait() == 0
    return results


def assert_ends(command: Command, *message: str) -> None:
    """Soon, with exit code 2 and one line that says all of this."""
    assert command.wait(SECONDS) == 2, command.output
    errors = [line for line in command.output.splitlines() if line.startswith("python sweeps/full_grid.py: error: ")]
    assert len(errors) == 1, command.output
    for words in message:
        assert words in errors[0]
    assert "Traceback" not in command.output


def test_a_full_disk(small_disk: Path, undisturbed: Path) -> None:
    results = small_disk / "r"
    command = Command([*SLOW, *seeds(15)], results, None)
    wait_until(lambda: n_attempts(results) > 0, of=command)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))
    assert_ends(
        command, f"cannot write results to {results}", "No space left on device", "the same command computes the rest"
    )
    before = ResultStore(results).attempts()
    assert 0 < len(before) < 15
    filler.unlink()
    again = Command([*SLOW, *seeds(15)], results, None)
    assert again.wait() == 0, again.output
    assert set(before.items()) <= set(ResultStore(results).attempts().items())
    assert n_attempts(results) == 15
    assert_complete(results, 15)
    assert_same(results, undisturbed)


def test_a_folder_that_may_only_be_read(small_disk: Path, undisturbed: Path) -> None:
    results = small_disk / "r"
    shutil.copytree(undisturbed, results, ignore=shutil.ignore_patterns("report"))
    shutil.rmtree(results / "cells")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert_ends(
        Command([*SLOW, *seeds(15)], results, None),
        f"cannot write results to {results}",
        "Read-only file system",
        "the same command computes the rest",
    )
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    again = Command([*SLOW, *seeds(15)], results, None)
    assert again.wait() == 0, again.output
    assert_same(results, undisturbed)


def test_a_folder_that_vanishes(tmp_path: Path, undisturbed: Path) -> None:
    results, elsewhere = tmp_path / "r", tmp_path / "elsewhere"
    command = Command([*SLOW, *seeds(15)], results, None)
    wait_until(lambda: n_attempts(results) > 0, of=command)
    results.rename(elsewhere)
    assert_ends(command, f"results folder {results} is gone", "run the same command again")
    shutil.rmtree(results, ignore_errors=True)
    elsewhere.rename(results)
    before = n_attempts(results)
    assert 0 < before < 15
    again = Command([*SLOW, *seeds(15)], results, None)
    assert again.wait() == 0, again.output
    assert n_attempts(results) == 15
    assert_same(results, undisturbed)


@pytest.mark.parametrize("damage", ["truncated", "one bit"])
def test_a_damaged_file_costs_its_own_cells_only(damage: str, tmp_path: Path, undisturbed: Path) -> None:
    results = tmp_path / "r"
    shutil.copytree(undisturbed, results)
    before = ResultStore(results).attempts()
    parts = sorted((results / "cells").glob("part-*"))
    assert len(parts) > 1
    content = bytearray(parts[0].read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    parts[0].write_bytes(content)
    command = Command([*SLOW, *seeds(15)], results, None)
    assert command.wait() == 0, command.output
    assert f"damaged cannot read {parts[0]}" in command.output
    store = ResultStore(results, damaged="skip")
    intact = {attempt for attempt in store.attempts() if attempt in before}
    assert 0 < len(intact) < 15
    assert len(store.attempts()) == 15
    assert set(store.read_cells()["cell_id"]) == set(before.values())
