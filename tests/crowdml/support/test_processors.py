"""The processors that a process may use: its affinity, and the quotas of its control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crowdml.support.processors import cpu_quotas, usable_processors


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "files", "quotas"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "max 100000"}, [1.5]),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, [0.5]),
        # The path is the path on the host, and the container sees only its own group.
        ("0::/docker/abc\n", {"cpu.max": "200000 100000"}, [2.0]),
        (
            "4:memory:/a\n3:cpu,cpuacct:/a\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
            [3.0],
        ),
        ("3:cpu,cpuacct:/x\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, []),
        ("0::/\n", {"cpu.max": "nonsense"}, []),
    ],
)
def test_quotas_of_both_versions(groups: str, files: dict[str, str], quotas: list[float], tmp_path: Path) -> None:
    write(tmp_path / "groups", groups)
    for name, text in files.items():
        write(tmp_path / "mount" / name, text)
    assert list(cpu_quotas(tmp_path / "groups", tmp_path / "mount")) == quotas


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert list(cpu_quotas(tmp_path / "groups", tmp_path)) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_counts() -> None:
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    code += "from crowdml.support.processors import usable_processors; print(usable_processors())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert 1 <= usable_processors() <= (os.cpu_count() or 1)


def test_nothing_else_counts_processors() -> None:
    root = Path(__file__).parents[3]
    users = [
        str(file.relative_to(root))
        for folder in ("crowdml", "sweeps", "analysis")
        for file in (root / folder).rglob("*.py")
        if "cpu_count" in file.read_text() or "sched_getaffinity" in file.read_text()
    ]
    assert users == ["crowdml/support/processors.py"]
