from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crowdml.support.processors import cpu_quotas, usable_processors


def quotas(folder: Path, groups: str, files: dict[str, str]) -> list[float]:
    (folder / "groups").write_text(groups)
    for name, text in files.items():
        (folder / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mount" / name).write_text(text)
    return sorted(cpu_quotas(folder / "groups", folder / "mount"))


def test_every_group_of_version_2_may_have_a_quota(tmp_path: Path) -> None:
    files = {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n", "cpu.max": "400000 100000\n"}
    assert quotas(tmp_path, "0::/a/b\n", files) == [1.5, 4.0]


def test_a_path_of_the_host_still_finds_the_quota_of_the_container(tmp_path: Path) -> None:
    assert quotas(tmp_path, "0::/host/docker/1\n", {"cpu.max": "50000 100000"}) == [0.5]


def test_a_quota_of_version_1_is_found(tmp_path: Path) -> None:
    files = {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"}
    files |= {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}
    assert quotas(tmp_path, "5:memory:/a\n4:cpu,cpuacct:/a\n", files) == [3.0]


def test_odd_files_give_no_quota(tmp_path: Path) -> None:
    assert quotas(tmp_path, "0::/\n", {"cpu.max": "many\n"}) == []
    assert quotas(tmp_path, "0::/\n", {"cpu.max": "100000 0\n"}) == []
    assert list(cpu_quotas(tmp_path / "missing", tmp_path)) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no CPU affinity")
def test_the_affinity_limits_the_number() -> None:
    one = min(os.sched_getaffinity(0))
    code = "from crowdml.support.processors import usable_processors; print(usable_processors())"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {one}),
    )
    assert int(ran.stdout) == 1 <= usable_processors()


def test_nothing_else_counts_processors() -> None:
    root = Path(__file__).parents[3]
    files = [file for folder in ("crowdml", "sweeps", "analysis") for file in (root / folder).rglob("*.py")]
    counting = [
        file.name for file in files if "cpu_count" in file.read_text() or "sched_getaffinity" in file.read_text()
    ]
    assert counting == ["processors.py"]
