"""Processes of this machine and the ports that they listen on, as Linux shows them."""

from __future__ import annotations

import ipaddress
import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_LISTENS = "0A"


def below(root: int) -> list[int]:
    """Children of a process, their children and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        mine = children.get(todo.pop(), [])
        found += mine
        todo += mine
    return found


def words(pid: int) -> str:
    """The command line of a process; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def still_there(before: Mapping[int, str]) -> list[int]:
    """Return the ids of processes that have the same command line as before; another process can get an old id."""
    return [pid for pid, line in before.items() if line and words(pid) == line]


def end(pids: Iterable[int], *, seconds: float = 10) -> None:
    """SIGKILL them and wait until they are gone."""
    left = list(pids)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + seconds
    while any(words(pid) for pid in left) and time.monotonic() < deadline:
        time.sleep(0.02)


def listens_on(pid: int) -> list[tuple[str, int]]:
    """(address, port) of each socket on which a process takes connections."""
    sockets = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                sockets.add(os.readlink(entry))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == _LISTENS and f"socket:[{rest[5]}]" in sockets:
                address, port = local.split(":")
                found.append((_address(address), int(port, 16)))
    return found


def is_loopback(address: str) -> bool:
    """Whether only this machine can connect there; of IPv4 in the guise of IPv6 too."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _address(text: str) -> str:
    # The kernel prints words of four bytes in the machine's own order.
    packed = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    return str(ipaddress.ip_address(packed))
