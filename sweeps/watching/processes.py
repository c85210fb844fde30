"""Who a process is, so that another one can tell whether it still runs; no clock is asked."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process, on any machine, at any time.

    Args:
        host: name of its machine.
        boot: of the machine's start, with the namespace that process ids count in; None where it is not known.
        pid: its id.
        start: when it started, in ticks of the machine; None where it is not known.
    """

    host: str
    boot: str | None
    pid: int
    start: int | None


def this_process() -> Process:
    """The calling process."""
    return Process(host=socket.gethostname(), boot=_boot(), pid=os.getpid(), start=_start(os.getpid()))


def is_running(process: Process) -> bool | None:
    """Whether the process runs; None where that cannot be seen from here, for it is one of another machine."""
    if process.boot is None or process.start is None:
        return None
    if process.host != socket.gethostname():
        return None
    if process.boot != _boot():
        # Either the machine was started again since, or it is a container of the same name.
        return None
    return _start(process.pid) == process.start


def _boot() -> str | None:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _start(pid: int) -> int | None:
    """When the process started, in ticks since the machine did; None if there is none, or no /proc."""
    try:
        # The name, in brackets, may hold anything.
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, start = parts[0], int(parts[19])
    return None if state in "ZX" else start
