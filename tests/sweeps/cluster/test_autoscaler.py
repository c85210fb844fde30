from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeps.cluster.autoscaler import autoscaler_limits, cluster_limits
from sweeps.store.result_store import ResultStore

ROOT = Path(__file__).parents[3]
# The fake provider knows its head by this name, and looks for it at this port.
HEAD, PORT = "ray.head.default", 6379


def config(max_workers: int = 1, **types: dict[str, Any]) -> dict[str, Any]:
    """A cluster file for Ray's fake provider, whose nodes are processes on this machine."""
    head = {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0}
    lists = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    return {
        "cluster_name": "fake",
        "max_workers": max_workers,
        "provider": {
            "type": "fake_multinode",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {HEAD: head, **types},
        "head_node_type": HEAD,
        "idle_timeout_minutes": 5,
        "upscaling_speed": 10,
        **{name: {} for name in ("auth", "docker", "file_mounts", "head_node", "worker_nodes")},
        **{f"{name}_commands": [] for name in lists},
        **{name: [] for name in ("rsync_exclude", "rsync_filter", "cluster_synced_files")},
        "file_mounts_sync_continuously": False,
    }


def node_type(max_workers: int | None = None, **resources: float) -> dict[str, Any]:
    limit = {} if max_workers is None else {"min_workers": 0, "max_workers": max_workers}
    return {"resources": resources, "node_config": {}, **limit}


def test_the_limits_of_a_cluster_file() -> None:
    assert cluster_limits(config()) == {"CPU": 1, "GPU": 0}
    assert cluster_limits(config(3, gpu=node_type(CPU=8, GPU=2))) == {"CPU": 25, "GPU": 6}
    # Three workers at most, two of them of the rich type.
    assert cluster_limits(config(3, big=node_type(2, CPU=8, GPU=4), small=node_type(3, CPU=2, GPU=1))) == {
        "CPU": 1 + 2 * 8 + 2,
        "GPU": 2 * 4 + 1,
    }
    assert cluster_limits(yaml.safe_load((ROOT / "cluster.yaml").read_text())) == {"CPU": 6 + 4 * 8, "GPU": 4}


def test_without_an_autoscaler_there_is_no_limit() -> None:
    assert autoscaler_limits() == {}


@pytest.fixture
def autoscaled(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster of one node that may start another, with a GPU."""
    (tmp_path / "cluster.json").write_text(json.dumps(config(gpu=node_type(1, CPU=1, GPU=1))))
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"port {PORT} is taken, by another Ray it seems")
    head = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--port={PORT}", "--num-cpus=1",
            "--num-gpus=0", "--include-dashboard=false", "--object-store-memory=200000000",
            f"--autoscaling-config={tmp_path / 'cluster.json'}",
        ],
        env={**os.environ, "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "CROWDML_TEST": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not autoscaler_limits() and time.monotonic() < deadline:
            time.sleep(0.2)
        yield f"127.0.0.1:{PORT}"
    finally:
        head.terminate()
        head.wait()
        # The node that the autoscaler started would look for its head for a minute before it ends.
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if str(tmp_path).encode() in environment.read_bytes() and environment.parent.name != str(os.getpid()):
                    os.kill(int(environment.parent.name), signal.SIGKILL)


@pytest.mark.slow
def test_a_sweep_brings_up_the_gpus_it_needs(autoscaled: str, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "sweeps/full_grid.py",
            "--address",
            autoscaled,
            "--results",
            str(tmp_path / "r"),
        ]
        return subprocess.run(
            [*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )

    planned = run("--dry-run")
    assert planned.stdout.startswith("preset paper: this Ray cluster has 1 GPU"), planned.stderr
    grid = ["--preset", "laptop", "--workers", "3", "--patterns", "uniform", "--seeds", "0", "--methods", "mv", "em"]
    # A share of a GPU, which only the node that is not there yet has.
    made = run(*grid, "--epochs", "1", "--n-train", "100", "--gpus-per-trial", "0.5")
    assert made.returncode == 0, made.stderr
    assert list(ResultStore(tmp_path / "r").read_cells()["status"]) == ["ok", "ok"]


def test_limits_that_are_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROWDML_CLUSTER_LIMITS", '{"CPU": 38, "GPU": 4}')
    assert autoscaler_limits() == {"CPU": 38.0, "GPU": 4.0}
    for wrong in ("38", '{"CPU": "many"}', "{"):
        monkeypatch.setenv("CROWDML_CLUSTER_LIMITS", wrong)
        with pytest.raises(ValueError, match="CROWDML_CLUSTER_LIMITS must be JSON such as"):
            autoscaler_limits()
