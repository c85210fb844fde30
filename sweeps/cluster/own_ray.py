"""Limit the Ray that a process starts for itself, and let no process of this Ray outlive the process.

RAY_FOLDER/session_.../crowdml.json    the processes of one Ray and of its driver, for the next driver to end them
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from crowdml.support.stop_signals import stop_with

CORE = ("gcs_server", "raylet")
"""Names of the processes without which a Ray cannot go on."""
RECORD = "crowdml.json"
LOOK_SECONDS = 0.2
STUCK_SECONDS = 10.0
"""Seconds that the main thread has to leave Ray after Ray ended."""
# Unix sockets have short names.  Ray makes `ray/session_2026-01-31_23-59-59_123456_4194304/sockets/plasma_store`.
_LONGEST_SOCKET = 107 if sys.platform.startswith("linux") else 103
_SOCKET = len("/ray/session_2026-01-31_23-59-59_123456_4194304/sockets/plasma_store")


class ClusterError(ValueError):
    """A Ray cluster cannot be joined or started, cannot run the cells, or has ended."""


@contextmanager
def own_processes() -> Iterator[None]:
    """Keep signals of the terminal from the processes of a Ray that the block starts, and keep socket names short.

    A terminal sends Ctrl-C to all processes of its group.  The driver alone must decide what happens to its Ray.

    Raises:
        ClusterError: every folder for temporary files has too long a name.
    """
    # Ray has no public option for the session of its processes.
    from ray._private import services

    popen: Any = services.ConsolePopen
    folder = _short_folder()
    with mock.patch.dict(os.environ, {} if folder is None else {"RAY_TMPDIR": folder, "TMPDIR": folder}):
        if sys.platform.startswith("linux"):  # elsewhere, Ray ends its processes through their group
            services.ConsolePopen = partial(popen, start_new_session=True)  # pyright: ignore
        try:
            yield
        finally:
            services.ConsolePopen = popen


@contextmanager
def loopback_only() -> Iterator[None]:
    """Make a Ray that the block starts listen only on 127.0.0.1, so that nobody on the network can reach Ray.

    By default, Ray listens only there on macOS and Windows.  On Linux, Ray's servers listen on all interfaces, even
    if the node gets the address 127.0.0.1, because Ray replaces this address.
    """
    # Ray reads the public environment variable in this process only once, when it is imported.
    from ray._private import ray_constants

    variable = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before, reachable = os.environ.get(variable), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[variable], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = reachable
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before


@contextmanager
def watched(session: Path) -> Iterator[None]:
    """Record the processes of the Ray that this process has started, and raise an error in the block if one ends early.

    Args:
        session: the session folder of this Ray.

    Raises:
        ClusterError: a process without which Ray cannot go on has ended.
    """
    children = psutil.Process().children(recursive=True)
    record = session / RECORD
    # Without the record, only the processes of a killed driver stay.
    with suppress(OSError):
        record.write_text(json.dumps({"driver": _identity(psutil.Process()), "processes": [*_identities(children)]}))
    over = threading.Event()
    core = {child: name for child in children if (name := child.name()) in CORE}
    watcher = threading.Thread(target=_watch, args=(core, over), name="ray-watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        record.unlink(missing_ok=True)


def end_left_over(folder: Path) -> int:
    """End the processes that killed drivers of this user left behind, and return their number.

    A process is ended only if a driver has recorded its id and its start, and if this driver is gone.

    Args:
        folder: where Ray keeps its sessions.
    """
    n_ended = 0
    for record in folder.glob(f"session_*/{RECORD}"):
        with suppress(OSError, ValueError, TypeError, KeyError, OverflowError):
            # Another user could write a record that names our processes.
            if record.stat().st_uid != os.getuid() or record.is_symlink():
                continue
            content = json.loads(record.read_text())
            if _running(content["driver"]) is not None:
                continue
            left = [process for each in content["processes"] if (process := _running(each)) is not None]
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
            n_ended += len(left)
            record.unlink()
    return n_ended


def ray_folder() -> Path:
    """Return the folder where a Ray of this process keeps its sessions."""
    return Path(_short_folder() or _system_folder(), "ray")


def _watch(core: Mapping[psutil.Process, str], over: threading.Event) -> None:
    """Stop the main thread when one of the processes (process -> name) ends."""
    while not over.wait(LOOK_SECONDS):
        for process, name in core.items():
            if not _is_alive(process):
                error = ClusterError(
                    f"Ray ended: its process {process.pid} ({name}) was killed or ran out of memory; "
                    "what is written is safe, and the same command goes on"
                )
                # Without its server, Ray blocks the main thread for a minute and then exits without a word.
                if stop_with(error) and not over.wait(STUCK_SECONDS):
                    print(f"error: {error}", file=sys.stderr, flush=True)
                    os._exit(2)
                return


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _identity(process: psutil.Process) -> list[float]:
    """Return the id of a process, and the seconds from the start of the machine to the start of the process."""
    return [process.pid, process.create_time() - psutil.boot_time()]


def _identities(processes: Iterable[psutil.Process]) -> Iterator[list[float]]:
    for process in processes:
        with suppress(psutil.Error):
            yield _identity(process)


def _running(identity: Sequence[float]) -> psutil.Process | None:
    """Return the process of an identity; None if it has ended, even if another process has its id by now."""
    pid, start = identity
    with suppress(psutil.Error):
        process = psutil.Process(int(pid))
        # The start of the machine is known to a second.
        if abs(_identity(process)[1] - start) < 2.0 and process.uids().real == os.getuid() and _is_alive(process):
            return process
    return None


def _system_folder() -> str:
    """Return the folder for temporary files that Ray uses by default."""
    return os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"


def _short_folder() -> str | None:
    """Return another folder for temporary files if the name of the default folder is too long, else None."""
    wanted = _system_folder()
    if len(os.fsencode(wanted)) + _SOCKET <= _LONGEST_SOCKET:
        return None
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise ClusterError(
        f"the name of the folder for temporary files {wanted} is too long for Ray, whose sockets have names of at most "
        f"{_LONGEST_SOCKET} bytes; set RAY_TMPDIR to a folder with a short name"
    )
