"""The Ray that a run starts for itself: nobody else reaches it, and no secret gets out of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sweeps.store.result_store import ResultStore
from tests.cluster.leaky import MARK, SECRETS
from tests.cluster.nodes import Command, wait_until
from tests.cluster.processes import below, is_loopback, listens_on, still_there, words
from tests.cluster.results import n_attempts

GRID = ["--preset", "labels", "--datasets", "digits", "--patterns", "uniform", "--workers", "3", "--missing-rates", "0"]


def test_nothing_listens_beyond_loopback(tmp_path: Path) -> None:
    results = tmp_path / "r"
    command = Command([*GRID, "--methods", "tests.cells:Slow", "--seeds", *map(str, range(40))], results, "local")
    try:
        wait_until(lambda: n_attempts(results) > 0, of=command)
        pids = [command.process.pid, *below(command.process.pid)]
        sockets = {(words(pid)[:60], *where) for pid in pids for where in listens_on(pid)}
    finally:
        command.kill()
    # The list is one of a whole Ray: with its servers, and a process that computes cells.
    assert len(sockets) > 5
    assert any("ResourceTrainable" in words for words, _, _ in sockets)
    assert [found for found in sockets if not is_loopback(found[1])] == []


@pytest.mark.slow
def test_secrets_reach_no_row_no_file_and_no_line(tmp_path: Path) -> None:
    results = tmp_path / "r"
    arguments = [*GRID, "--methods", "tests.cluster.leaky:Leaky", "mv", "--seeds", "0"]
    for address in (None, "local"):
        command = Command(arguments, results, address, **SECRETS)
        assert command.wait() == 3, command.output
        assert "1 of 2 cells failed" in command.output
        assert MARK not in command.output
        rows = ResultStore(results).read_cells()
        (error,) = rows["error"].dropna()
        assert "RuntimeError: cannot sign in with" in error
        # Parquet may be compressed; its rows are looked at as they are read.
        assert MARK not in ResultStore(results).read_rows("cells").to_pandas().to_csv()
        for file in results.rglob("*"):
            assert file.is_dir() or MARK.encode() not in file.read_bytes()
        results = tmp_path / "r-on-ray"


def test_keys_in_the_name_of_the_results_folder_are_not_printed() -> None:
    # A port of this machine where nobody answers.
    uri = f"s3://AKIAABCDEFGHIJKLMNOP:{MARK}@bucket/folder?scheme=http&endpoint_override=127.0.0.1:9"
    command = Command([*GRID, "--methods", "mv", "--seeds", "0"], uri, None)
    assert command.wait() == 2, command.output
    assert "s3://***@bucket/folder" in command.output
    assert MARK not in command.output


@pytest.mark.slow
def test_a_killed_raylet_is_one_line(tmp_path: Path) -> None:
    results = tmp_path / "r"
    command = Command([*GRID, "--methods", "tests.cells:Slow", "--seeds", *map(str, range(40))], results, "local")
    wait_until(lambda: n_attempts(results) > 0, of=command)
    (raylet,) = [pid for pid in below(command.process.pid) if "/raylet/raylet " in words(pid)]
    os.kill(raylet, signal.SIGKILL)
    assert command.wait(60) == 2, command.output
    assert "raylet) was killed or ran out of memory" in command.output
    assert "the same command" in command.output
    assert "Traceback" not in command.output
    assert set(ResultStore(results).read_cells()["status"]) == {"ok"}


@pytest.mark.slow
def test_the_next_driver_ends_the_ray_of_a_killed_driver(tmp_path: Path) -> None:
    results = tmp_path / "r"
    # A long name, so that this Ray must choose a short folder for its sockets.
    temporary = tmp_path / (80 * "t")
    temporary.mkdir()
    grid = [*GRID, "--methods", "tests.cells:Slow", "--seeds", *map(str, range(12))]
    command = Command(grid, results, "local", TMPDIR=str(temporary))
    wait_until(lambda: n_attempts(results) > 0, of=command)
    own = {pid: words(pid) for pid in below(command.process.pid)}
    command.kill()
    again = Command(grid, results, "local", TMPDIR=str(temporary))
    assert again.wait() == 0, again.output
    wait_until(lambda: not still_there(own), seconds=30)
