"""Find the memory that this process may use, and refuse work that needs more."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux mounts the control groups, which limit the memory of a container or of a batch job."""


class TooLargeError(ValueError):
    """The work needs more memory than there is.

    Attributes:
        needed, free: bytes.
    """

    def __init__(self, what: str, needed: float, free: float, way_out: str) -> None:
        super().__init__(what, needed, free, way_out)
        self.what, self.needed, self.free, self.way_out = what, needed, free, way_out

    def __str__(self) -> str:
        sizes = f"{in_words(self.needed)} of memory, {in_words(self.free)} are free"
        return f"{self.what} needs about {sizes}; {self.way_out}"


def check_memory(needed: float, what: str, way_out: str) -> None:
    """Raise TooLargeError if fewer than `needed` bytes are free.  Allocates nothing.

    Args:
        what: what needs the memory, with its sizes.
        way_out: what the user can do instead.
    """
    free = free_memory()
    if needed > free:
        raise TooLargeError(what, needed, free, way_out)


def free_memory() -> int:
    """Return the bytes that this process can still use.  Limits of control groups and of ulimit count too."""
    free = [psutil.virtual_memory().available, *_left_in_cgroups()]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        free.append(limit - psutil.Process().memory_info().vms)
    return max(min(free), 0)


def in_words(n_bytes: float) -> str:
    """Return a number of bytes as text, such as 3.2 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes / 1e6:,.0f} MB"


def _left_in_cgroups() -> Iterator[int]:
    """Yield the bytes left in each limited control group of this process, of version 1 or 2."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _left_in(CGROUPS, path, "memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                files = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
                yield from _left_in(CGROUPS / "memory", path, *files)


def _left_in(root: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    """Yield the bytes left in a control group and in each of its parents."""
    group = root / path.strip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(root):
            return
        # A group without a limit says "max"; in a container, the path of the host does not exist.
        with suppress(OSError, ValueError):
            left = int((folder / limit).read_text()) - int((folder / usage).read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            yield left + int(statistics.get(cache, 0))  # the system drops cached files when memory is short
