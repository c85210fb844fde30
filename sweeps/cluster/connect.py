"""Join a running Ray cluster, or start a Ray on this machine and stop it at the end."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowdml.support.processors import usable_processors
from crowdml.support.stop_signals import call_guarded, hold_signals
from sweeps.cluster.autoscaler import autoscaler_limits
from sweeps.cluster.own_ray import ClusterError, end_left_over, loopback_only, own_processes, ray_folder, watched

# These must be set before ray is imported: no usage reports, no second progress output, quiet loggers of Tune and
# Train.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "60")
# Train takes one report per health check; short trainings would wait for the default of two seconds.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
# `ray start` demands a token if a token exists, and any `ray.init` may have left one behind.  A driver that joins
# sends no token by itself.  A cluster without tokens ignores the token.
_TOKEN_FILE = Path("~/.ray/auth_token").expanduser()
if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH") or _TOKEN_FILE.exists():
    os.environ.setdefault("RAY_AUTH_MODE", "token")

OBJECT_STORE_SPARE = 150_000_000
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Cluster:
    """A connected Ray cluster.

    Args:
        cpus, gpus: of all nodes, including nodes that an autoscaler may still start.
        n_nodes: number of nodes that are alive.
        dashboard: URL of the dashboard, or None.
        own: whether the cluster was started for this run alone.
    """

    cpus: float
    gpus: float
    n_nodes: int
    dashboard: str | None
    own: bool


@contextmanager
def join(address: str | None) -> Iterator[Cluster | None]:
    """Join a running cluster and yield it, or yield None if there is no cluster to join.

    Args:
        address: "host:port"; "auto" for the cluster that `ray start` made this machine a part of; "local" to join no
            cluster; None for RAY_ADDRESS if this is set, else for "auto" if such a cluster runs, else for "local".

    Raises:
        ClusterError: no cluster answers at the address.
    """
    wanted = address or os.environ.get("RAY_ADDRESS") or None
    found = None if wanted == "local" else _find(wanted)
    if found is None:
        yield None
        return
    import ray

    _quiet()
    try:
        try:
            with hold_signals():
                context = ray.init(address=found, log_to_driver=False, logging_level=logging.CRITICAL)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ClusterError(f"cannot join the Ray cluster at {found}: {error}") from error
        yield _describe(context.dashboard_url, own=False)
    finally:
        call_guarded(ray.shutdown)


@contextmanager
def join_or_start(address: str | None, *, data_bytes: int) -> Iterator[Cluster]:
    """Join a running cluster; if there is no cluster to join, start one (see `join` and `start_local`)."""
    with join(address) as found, nullcontext(found) if found else start_local(data_bytes=data_bytes) as cluster:
        yield cluster


@contextmanager
def start_local(*, data_bytes: int) -> Iterator[Cluster]:
    """Start a cluster on this machine that nobody else can reach, and stop it at the end.

    The object store has room for `data_bytes` of data sets.
    """
    import ray

    _quiet()
    end_left_over(ray_folder())
    with loopback_only(), own_processes():
        try:
            # A Ray that is half started cannot be stopped.
            with hold_signals():
                context: Any = ray.init(
                    address="local",
                    num_cpus=usable_processors(),
                    # Without a dashboard, a Train run that Tune stops never frees its resources.
                    include_dashboard=True,
                    object_store_memory=data_bytes + OBJECT_STORE_SPARE,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
            with watched(Path(context.address_info["session_dir"])):
                yield _describe(context.dashboard_url, own=True)
        finally:
            call_guarded(ray.shutdown)


def local_gpus() -> int:
    """Return the number of GPUs of this machine that torch can use."""
    if not (Path("/dev/nvidia0").exists() or Path("/dev/kfd").exists() or shutil.which("nvidia-smi")):
        return 0  # saves the import of torch
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _find(wanted: str | None) -> str | None:
    """Return the address of a cluster that answers, or None if the user named no address and no cluster answers.

    `ray.init` alone would join any Ray on this machine, even a Ray that another run started for itself and will stop.
    `ray.init` also waits for minutes if no cluster answers.
    """
    if wanted is not None and "://" in wanted:
        raise ClusterError(f"--address must be host:port, auto or local, got {wanted}; on the head node omit --address")
    address = _address_of_this_machine() if wanted in (None, "auto") else wanted
    if address is not None and _answers(address):
        return address
    if wanted is None:
        return None
    there = "that this machine is part of" if wanted == "auto" else f"at {wanted}"
    raise ClusterError(f"no Ray cluster {there} answers; start one with ray up or ray start, or omit --address")


def _address_of_this_machine() -> str | None:
    """Return the address that `ray start` left in the file that Ray documents."""
    try:
        return Path(ray_folder(), "ray_current_cluster").read_text().strip() or None
    except OSError:
        return None


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


def _describe(dashboard: str | None, *, own: bool) -> Cluster:
    import ray

    resources = ray.cluster_resources()
    if not own:
        # An autoscaled cluster starts with its head alone; its largest size counts.
        limits = autoscaler_limits()
        resources |= {name: max(limits.get(name, 0), resources.get(name, 0)) for name in ("CPU", "GPU")}
    return Cluster(
        cpus=resources.get("CPU", 0),
        gpus=resources.get("GPU", 0),
        n_nodes=sum(node["Alive"] for node in ray.nodes()),
        dashboard=f"http://{dashboard}" if dashboard else None,
        own=own,
    )


def _quiet() -> None:
    """Keep Ray from printing over the progress view.  Ray's message about a dead process is in the cell's row."""
    import ray

    # Ray prints the errors of its processes even with log_to_driver=False; no public option stops that.
    ray._private.worker._worker_logs_enabled = False  # pyright: ignore
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
