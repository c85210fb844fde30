"""The Ray cluster a sweep runs on: joined if there is one, else started here and stopped at the end."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweeps.cluster.autoscaler import autoscaler_limits

# Before ray is imported by anyone: no usage reports, no second progress output, quiet loggers of Tune and Train.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "60")
# Train takes reports once a health check; at the default of two seconds short trainings would wait for it.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
# `ray start` asks for a token as soon as there is one, which any `ray.init` may have left behind, but a driver that
# joins does not send it by itself; a cluster that wants none does not mind one.
_HAS_TOKEN = (
    bool(os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"))
    or Path("~/.ray/auth_token").expanduser().exists()
)
if _HAS_TOKEN:
    os.environ.setdefault("RAY_AUTH_MODE", "token")

OBJECT_STORE_SPARE = 150_000_000
CONNECT_SECONDS = 5.0


class ClusterError(ValueError):
    """A Ray cluster that cannot be joined or cannot run the cells."""


@dataclass(frozen=True)
class Cluster:
    """What there is to run on.

    Args:
        cpus, gpus: of all nodes, those that an autoscaler may still start included.
        n_nodes: nodes alive.
        dashboard: its URL, or None.
        own: whether it was started for this run alone.
    """

    cpus: float
    gpus: float
    n_nodes: int
    dashboard: str | None
    own: bool


@contextmanager
def join(address: str | None) -> Iterator[Cluster | None]:
    """Join a running cluster, or yield None if none was asked for and none runs here.

    Args:
        address: "host:port", or "auto" for the cluster that `ray start` made this machine a part of; None takes
            RAY_ADDRESS, else such a cluster if there is one; "local" none.

    Raises:
        ClusterError: there is no cluster at the address.
    """
    wanted = address or os.environ.get("RAY_ADDRESS") or None
    found = None if wanted == "local" else _find(wanted)
    if found is None:
        yield None
        return
    import ray

    _quiet()
    try:
        ray.init(address=found, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(f"cannot join the Ray cluster at {found}: {error}") from error
    try:
        yield _describe(own=False)
    finally:
        ray.shutdown()


@contextmanager
def start_local(*, data_bytes: int) -> Iterator[Cluster]:
    """Start a cluster of this machine alone, which nobody else can reach, and stop it at the end.

    Args:
        data_bytes: size of the data sets that the object store must hold.
    """
    import ray

    _quiet()
    with loopback_only():
        ray.init(
            address="local",
            num_cpus=os.cpu_count(),
            include_dashboard=True,  # without it a Train run that Tune stops never frees its resources
            object_store_memory=data_bytes + OBJECT_STORE_SPARE,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
        try:
            yield _describe(own=True)
        finally:
            ray.shutdown()


@contextmanager
def loopback_only() -> Iterator[None]:
    """What Ray starts meanwhile listens on 127.0.0.1 alone, so that nobody on the network reaches it.

    Ray does so by itself on macOS and Windows only.  Elsewhere its servers listen on all interfaces, also where the
    node's address is given as 127.0.0.1, for Ray replaces that.
    """
    from ray._private import ray_constants

    variable = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before, reachable = os.environ.get(variable), ray_constants.ENABLE_RAY_CLUSTER
    # The variable counts in the processes that are started, and Ray reads it in this one only when it is imported.
    os.environ[variable], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = reachable
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before


def local_gpus() -> int:
    """GPUs of this machine that torch can use."""
    if not (Path("/dev/nvidia0").exists() or Path("/dev/kfd").exists() or shutil.which("nvidia-smi")):
        return 0  # spares a machine without one the import of torch
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _find(wanted: str | None) -> str | None:
    """The address of a cluster that answers; None if none was asked for and there is none.

    Left to itself, `ray.init` joins any Ray on this machine, even one that another run started for itself and takes
    away with it, and waits for minutes where none answers.
    """
    import ray

    if wanted is not None and "://" in wanted:
        raise ClusterError(f"--address must be host:port, auto or local, got {wanted}; on the head node leave it out")
    of_machine = ray._private.services.find_bootstrap_address(None)  # pyright: ignore
    address = of_machine if wanted in (None, "auto") else wanted
    if address is not None and _answers(address):
        return address
    if wanted is None:
        return None
    there = "that this machine is part of" if wanted == "auto" else f"at {wanted}"
    raise ClusterError(f"no Ray cluster {there} answers; start one with ray up or ray start, or leave out --address")


def _answers(address: str) -> bool:
    import grpc

    if os.environ.get("RAY_USE_TLS") in ("1", "true"):
        return True
    channel = grpc.insecure_channel(address)
    try:
        grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
    except grpc.FutureTimeoutError:
        return False
    finally:
        channel.close()
    return True


def _describe(*, own: bool) -> Cluster:
    import ray

    resources = ray.cluster_resources()
    if not own:
        # An autoscaled cluster starts with its head alone; what it may grow to is what counts.
        limits = autoscaler_limits()
        resources |= {name: max(limits.get(name, 0), resources.get(name, 0)) for name in ("CPU", "GPU")}
    url = ray._private.worker.global_worker.node.webui_url  # pyright: ignore
    return Cluster(
        cpus=resources.get("CPU", 0),
        gpus=resources.get("GPU", 0),
        n_nodes=sum(node["Alive"] for node in ray.nodes()),
        dashboard=f"http://{url}" if url else None,
        own=own,
    )


def _quiet() -> None:
    """Keep Ray from writing over the progress line; what it would say of a dead process stands in the cell's row."""
    import ray

    ray._private.worker._worker_logs_enabled = False  # pyright: ignore
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
