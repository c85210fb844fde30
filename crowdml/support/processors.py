"""Count the processors that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from math import ceil
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def usable_processors() -> int:
    """Return the number of processors that this process may use, at least 1.

    The CPU affinity (`taskset`, Slurm) and the CPU quota of the control groups (containers) limit the number.  A part
    of a processor counts as a whole processor.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *_quotas()]))


@cache
def _quotas() -> list[int]:
    return [ceil(quota) for quota in cpu_quotas(_GROUPS, _MOUNT)]


def cpu_quotas(groups: Path, mount: Path) -> Iterator[float]:
    """Yield the CPU quota, in processors, of each control group that this process is in and that has a quota.

    Args:
        groups: the file that lists the groups, as the kernel writes it to /proc/self/cgroup.
        mount: the folder of the control groups, of version 1 or 2.
    """
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has no list of controllers.  Version 1 mounts each list in a folder of its own.
        for top in (mount / controllers, mount / "cpu") if controllers else (mount, mount / "unified"):
            inside = top / path.lstrip("/")
            # In a container the path may be the path on the host, of which only the top is visible.
            for folder in (inside, *inside.parents):
                if not folder.is_relative_to(top):
                    break
                quota = _quota(folder)
                if quota is not None:
                    yield quota


def _quota(folder: Path) -> float | None:
    """Return the quota of one control group in processors; None without a quota."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text().split()
        return float(quota) / float(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota = float((folder / "cpu.cfs_quota_us").read_text())
        period = float((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None
    return None
