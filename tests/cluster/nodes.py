"""Several Ray nodes on this machine, lost and added at will, and the command on them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from sweeps.cluster.own_ray import loopback_only
from tests.cluster.processes import below, end, words

ROOT = Path(__file__).parents[2]
OBJECT_STORE_BYTES = 80_000_000
ENVIRONMENT = {
    # The processes that Ray starts must find the methods of tests/cells.py.
    "PYTHONPATH": str(ROOT),
    "COLUMNS": "200",
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}


class Nodes:
    """A head without processors and workers of one each; made by `ray_nodes`."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.workers: list[Any] = []

    @property
    def address(self) -> str:
        """Of the cluster, as --address takes it."""
        return self._cluster.address

    @property
    def head(self) -> Any:
        """The head node."""
        return self._cluster.head_node

    def add(self) -> None:
        """One more worker node."""
        self.workers.append(self._cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES))

    def lose(self, node: Any) -> None:
        """A worker node goes as a spot machine does: all of its processes at once, without a word."""
        self.workers.remove(node)
        end(self._processes(node))
        self._cluster.remove_node(node, allow_graceful=False)

    def trials(self, name: str = "Trainable") -> list[tuple[int, Any]]:
        """The processes that compute cells, each with its node.

        Args:
            name: part of the name that Ray gives them.
        """
        return [(pid, node) for node in self.workers for pid in self._processes(node) if name in _title(pid)]

    def bytes_stored(self) -> int:
        """The bytes that the object stores of all nodes hold together."""
        # The public `ray memory` rounds to megabytes.
        from ray._private.internal_api import get_memory_info_reply

        reply = get_memory_info_reply(
            self._cluster.global_state, self.head.node_ip_address, self.head.node_manager_port
        )
        return reply.store_stats.object_store_bytes_used

    def _processes(self, node: Any) -> list[int]:
        own = [info.process.pid for infos in node.all_processes.values() for info in infos]
        return list(dict.fromkeys(pid for root in own for pid in [root, *below(root)]))


@contextmanager
def ray_nodes(
    n_workers: int = 2, *, dashboard: bool = False, environment: Mapping[str, str] | None = None
) -> Iterator[Nodes]:
    """A cluster of a head and workers on this machine, of which nothing is left afterwards.

    Args:
        n_workers: worker nodes at the start.
        dashboard: whether there is one, which Ray Train with several workers wants.
        environment: variables of all processes on it.
    """
    from ray.cluster_utils import Cluster

    # Where Ray notes the address of the newest cluster, so that nobody else on this machine joins this one.
    folder = tempfile.mkdtemp(prefix="rn-", dir="/tmp")  # sockets have names of at most 107 characters
    with mock.patch.dict(os.environ, {**ENVIRONMENT, **(environment or {}), "RAY_TMPDIR": folder}), loopback_only():
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": OBJECT_STORE_BYTES,
                "include_dashboard": dashboard,
                "dashboard_port": free_port(),
            },
        )
        nodes = Nodes(cluster)
        try:
            for _ in range(n_workers):
                nodes.add()
            yield nodes
        finally:
            left = [pid for node in cluster.list_all_nodes() for pid in nodes._processes(node)]
            cluster.shutdown()
            end(left)
            shutil.rmtree(folder, ignore_errors=True)


class Command:
    """The main job in a process of its own.

    Args:
        arguments: of the command.
        results: its results folder; None if it has none.
        address: of the cluster; None is `--backend inline`.
        script: another one that does the same.
        more: environment variables.
    """

    def __init__(
        self,
        arguments: list[str],
        results: Path | str | None,
        address: str | None,
        *,
        script: str = "sweeps/full_grid.py",
        **more: str,
    ) -> None:
        where = ["--backend", "inline"] if address is None else ["--address", address]
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, script, *arguments, *([] if results is None else ["--results", str(results)]), *where],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, **more},
            stdout=self._output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )

    @property
    def output(self) -> str:
        """What it printed so far."""
        self._output.seek(0)
        return self._output.read()

    def wait(self, seconds: float = 300) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"the command still ran after {seconds:g} s; it printed:\n{self.output}")

    def signal(self, number: int, *, times: int = 1, group: bool = False) -> None:
        """Send a signal once or several times, to the driver alone or, as a terminal does, to its process group."""
        for _ in range(times):
            (os.killpg if group else os.kill)(self.process.pid, number)
            time.sleep(0.3)
            if self.process.poll() is not None:
                return

    def kill(self) -> None:
        """End it at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def wait_until(condition: Callable[[], Any], *, seconds: float = 180, of: Command | None = None) -> None:
    """Wait until the condition holds; while a command runs, it must not end before."""
    deadline = time.monotonic() + seconds
    while not condition():
        if of is not None and of.process.poll() is not None:
            pytest.fail(f"the command ended with {of.process.returncode} before its time; it printed:\n{of.output}")
        if time.monotonic() > deadline:
            said = "" if of is None else f"; the command printed:\n{of.output}"
            pytest.fail(f"waited for {seconds:g} s in vain{said}")
        time.sleep(0.05)


def _title(pid: int) -> str:
    title = words(pid)
    return title if title.startswith("ray::") else ""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
