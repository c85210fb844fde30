"""The Ray that a run starts for itself: nobody else reaches it, and no secret gets out of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from sweeps.cluster.own_ray import RECORD, end_left_over
from sweeps.store.result_store import ResultStore
from tests.cluster.leaky import MARK, SECRETS
from tests.cluster.nodes import Command, wait_until
from tests.cluster.processes import below, is_loopback, listens_on, words
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
def test_the_end_of_ray_is_reported(tmp_path: Path) -> None:
    results = tmp_path / "r"
    arguments = [*GRID, "--methods", "tests.cells:Slow", "--seeds", *map(str, range(40))]
    command = Command(arguments, results, "local")
    wait_until(lambda: n_attempts(results) > 0, of=command)
    (raylet,) = [child for child in psutil.Process(command.process.pid).children() if child.name() == "raylet"]
    raylet.kill()
    assert command.wait(60) == 2, command.output
    assert f"error: Ray ended: its process {raylet.pid} (raylet) was killed or ran out of memory" in command.output
    assert command.output.strip().endswith("the same command goes on")
    assert set(ResultStore(results).read_cells()["status"]) == {"ok"}


@pytest.mark.slow
def test_the_next_driver_ends_what_a_killed_driver_left_and_nothing_else(tmp_path: Path) -> None:
    # Ray's sockets have names of at most 107 characters, so that the folder needs a short name.
    with tempfile.TemporaryDirectory(prefix="rl-", dir="/tmp") as folder:
        results = tmp_path / "r"
        arguments = [*GRID, "--methods", "tests.cells:Slow", "--seeds", *map(str, range(40))]
        command = Command(arguments, results, "local", RAY_TMPDIR=folder)
        wait_until(lambda: n_attempts(results) > 0, of=command)
        agents = [
            child
            for child in psutil.Process(command.process.pid).children(recursive=True)
            if child.name().endswith("Agent")
        ]
        assert agents
        # As long as the driver lives, its processes do too.
        assert end_left_over(Path(folder, "ray")) == 0
        command.kill()
        end_left_over(Path(folder, "ray"))
        psutil.wait_procs(agents, timeout=5)
        assert not [agent for agent in agents if agent.is_running() and agent.status() != psutil.STATUS_ZOMBIE]
        assert end_left_over(Path(folder, "ray")) == 0


def test_a_process_with_the_same_id_but_another_start_is_spared(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        record = tmp_path / "session_1" / RECORD
        record.parent.mkdir()
        record.write_text(json.dumps({"driver": [2**22 - 1, 1.0], "processes": [[bystander.pid, 1.0]]}))
        assert end_left_over(tmp_path) == 0
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.slow
def test_a_long_folder_for_temporary_files_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    command = Command([*GRID, "--methods", "mv", "--seeds", "0"], tmp_path / "r", "local", TMPDIR=str(folder))
    assert command.wait() == 0, command.output


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
