from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sweeps.cluster.own_ray import RECORD, ClusterError, end_left_over, ray_folder


def sleeper() -> psutil.Process:
    return psutil.Process(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)


def identity(process: psutil.Process) -> tuple[int, float]:
    return process.pid, process.create_time() - psutil.boot_time()


def record(folder: Path, driver: tuple[int, float], *left: tuple[int, float]) -> Path:
    file = folder / "session_1" / RECORD
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"driver": driver, "processes": left}))
    return file


def test_processes_of_a_killed_driver_are_ended(tmp_path: Path) -> None:
    left, driver = sleeper(), sleeper()
    gone = identity(driver)
    driver.kill()
    driver.wait()
    file = record(tmp_path, gone, identity(left))
    assert end_left_over(tmp_path) == 1
    left.wait(10)
    assert not file.exists()


def test_processes_of_a_live_driver_and_of_others_stay(tmp_path: Path) -> None:
    left = sleeper()
    pid, start = identity(left)
    try:
        record(tmp_path, identity(psutil.Process()), (pid, start))
        assert end_left_over(tmp_path) == 0
        # Another process has the id by now.
        record(tmp_path, (pid, start - 1000), (pid, start - 1000))
        assert end_left_over(tmp_path) == 0
        assert left.is_running()
    finally:
        left.kill()


@pytest.mark.parametrize("text", ["", "[1]", "null", '{"driver": "x", "processes": 3}', '{"driver": [1e400, NaN]}'])
def test_a_damaged_record_ends_nothing(tmp_path: Path, text: str) -> None:
    file = record(tmp_path, (1, 0.0))
    file.write_text(text)
    assert end_left_over(tmp_path) == 0


def test_a_long_folder_for_temporary_files_gives_way_to_a_short_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/var/tmp/short")
    assert ray_folder() == Path("/var/tmp/short/ray")
    monkeypatch.setenv("TMPDIR", "/var/tmp/" + 60 * "x")
    assert ray_folder() in (Path("/tmp/ray"), Path("/var/tmp/ray"), Path("/dev/shm/ray"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ClusterError, match="set RAY_TMPDIR to a folder with a short name"):
        ray_folder()
