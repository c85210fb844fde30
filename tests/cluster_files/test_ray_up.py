"""clusters/on_premise.yaml on hosts of its own: up, sweeps on both hosts, results fetched, down."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sweeps.store.result_store import ResultStore
from tests.cluster_files.files import ON_PREMISE, REPOSITORY, git
from tests.cluster_files.hosts import HOME, Host, hosts, why_not

pytestmark = pytest.mark.slow

ADDRESSES = {"laptop": "10.77.0.1", "head": "10.77.0.2", "worker": "10.77.0.3"}
JOIN_SECONDS = 180.0
# Cells of two data sets lie in two trials at least, and a trial takes all processors of a host: so both hosts work.
SWEEP = (
    "--preset labels --patterns uniform --methods tests.cluster_files.methods:OnTwoHosts --missing-rates 0 --workers 3"
)
SWEEP += f" --datasets digits cifar10_labels --cpus-per-trial {os.cpu_count()} --seeds"
N_DATASETS = 2


@dataclass(frozen=True)
class Site:
    """The user's machine, two hosts, and what they share.

    Args:
        laptop, head, worker: the hosts.
        nfs: a folder that all of them see.
        cluster_file: clusters/on_premise.yaml with these hosts in it.
    """

    laptop: Host
    head: Host
    worker: Host
    nfs: Path
    cluster_file: Path

    def ray(self, command: str, *arguments: str, file: bool = True, timeout: float = 180) -> str:
        """Run a `ray` command on the user's machine, in the repository; returns its output.

        Args:
            command: up, exec, ...
            arguments: of the command.
            file: whether the first of them is the cluster file, which is added here.
            timeout: in seconds.
        """
        done = self.laptop.run(
            f"{sys.prefix}/bin/ray",
            command,
            *([str(self.cluster_file)] if file else []),
            *arguments,
            cwd=REPOSITORY,
            # The local provider starts no worker under the autoscaler that `ray up` would choose.
            variables={"RAY_UP_enable_autoscaler_v2": "0", "RAY_USAGE_STATS_ENABLED": "0"},
            timeout=timeout,
        )
        assert done.returncode == 0, f"ray {command}: {done.stdout}"
        return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    nfs = tmp_path / "nfs"
    nfs.mkdir()
    keep = [Path(sys.prefix), Path(sys.base_prefix), REPOSITORY, nfs]
    with hosts(tmp_path / "hosts", ADDRESSES, keep=keep) as made:
        cluster_file = nfs / "cluster.yaml"
        cluster_file.write_text(yaml.safe_dump(_for_these_hosts(yaml.safe_load(ON_PREMISE.read_text()), nfs)))
        yield Site(**made, nfs=nfs, cluster_file=cluster_file)


def test_hosts_are_apart_and_go(tmp_path: Path) -> None:
    """What keeps `ray stop` on a host from any Ray of this machine, and the hosts' traffic between them."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with hosts(tmp_path / "hosts", ADDRESSES, keep=[]) as made:
        for host in made.values():
            for namespace in ("net", "pid", "mnt", "uts", "ipc"):  # as /proc calls them
                mine = Path(f"/proc/self/ns/{namespace}").readlink()
                assert host.run("readlink", f"/proc/self/ns/{namespace}").stdout.strip() != str(mine)
            processes = host.run("ps", "-e", "-o", "args=").stdout
            assert len(processes.splitlines()) <= 4, processes
            assert host.run("hostname").stdout.strip() == host.name
            links = host.run("ip", "-brief", "link").stdout
            assert not set(re.findall(r"^\w+", links, re.MULTILINE)) - {"lo", "eth0", "bridge0", "port0", "port1"}
    assert not any(Path(f"/proc/{host.pid}").exists() for host in made.values())


def test_up_sweep_fetch_down(site: Site) -> None:
    site.ray("up", "-y")
    _wait_for_nodes(site, 2)
    _check_ports(site)

    first = f"cd ~/crowdml && python sweeps/full_grid.py {SWEEP} 0 1"
    driver = """--entrypoint-resources '{"driver": 1}'"""
    site.ray("exec", f"ray job submit --address http://127.0.0.1:8265 {driver} -- bash -c '{first}'", timeout=300)
    seeds = range(4)
    second = [*SWEEP.split(), *map(str, seeds)]
    said = site.ray("submit", str(REPOSITORY / "sweeps/full_grid.py"), "--", *second, timeout=300)
    assert f"{N_DATASETS * len(seeds)} cells, {N_DATASETS * 2} done before" in said
    site.ray("rsync-down", f"{site.nfs}/results/", str(site.nfs / "fetched/"))
    rows = ResultStore(site.nfs / "fetched").read_cells()
    assert sorted(rows["seed"]) == sorted([*seeds] * N_DATASETS)
    _check_rows(rows)

    token = (site.nfs / "auth_token").read_text().strip()
    assert token not in said
    site.ray("down", "-y")
    assert _rays(site.head) == []
    # `ray down` stops Ray on the head alone; what the guide says about the others:
    key = ["-i", str(HOME / ".ssh/key"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    site.laptop.run("ssh", *key, f"root@{site.worker.address}", ". ~/.crowdml.sh && ray stop")
    assert _rays(site.worker) == []


def _for_these_hosts(config: dict[str, Any], nfs: Path) -> dict[str, Any]:
    """The file as a user would fill it in, but for the installation: the virtual environment of this test serves."""
    config["provider"] |= {"head_ip": ADDRESSES["head"], "worker_ips": [ADDRESSES["worker"]]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(HOME / ".ssh/key")}
    venv, install, *environment = config["setup_commands"]
    assert "venv" in venv
    assert "pip install" in install
    config["setup_commands"] = [
        f"ln -sfn {sys.prefix} ~/crowdml-venv",
        # What `pip install -e` does: the code that runs is the copy on the host.
        "echo 'export PYTHONPATH=$HOME/crowdml' >> ~/.bashrc",
        *_on(nfs, environment),
    ]
    config["head_setup_commands"] = [
        command.replace("python3.11", sys.executable) for command in _on(nfs, config["head_setup_commands"])
    ]
    return config


def _on(nfs: Path, commands: list[str]) -> list[str]:
    return [command.replace("/mnt/crowdml", str(nfs)) for command in commands]


def _wait_for_nodes(site: Site, n_nodes: int) -> None:
    deadline = time.monotonic() + JOIN_SECONDS
    # As `ray status` counts them: all hosts are of one type.
    while f" {n_nodes} local.cluster.node" not in (seen := site.ray("exec", "ray status")):
        assert time.monotonic() < deadline, seen
        time.sleep(1)


def _check_ports(site: Site) -> None:
    """The dashboard is the head's alone, and who has no token is refused, wherever he sits."""
    listening = [line.split()[3] for line in site.head.run("ss", "-ltnH").stdout.splitlines()]
    assert "127.0.0.1:8265" in listening
    assert [address for address in listening if address.endswith(":8265")] == ["127.0.0.1:8265"]
    ask = [f"{sys.prefix}/bin/ray", "status", f"--address={ADDRESSES['head']}:6379"]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(site.nfs / "auth_token")}
    assert site.worker.run(*ask, variables=token).returncode == 0
    refused = site.worker.run(*ask)
    assert refused.returncode != 0
    assert "token" in refused.stdout.lower()
    assert (site.nfs / "auth_token").stat().st_mode & 0o077 == 0


def _check_rows(rows: pd.DataFrame) -> None:
    assert set(rows["status"]) == {"ok"}
    assert set(rows["host"]) == {"head", "worker"}
    assert set(rows["git_commit"]) == set(git("rev-parse", "HEAD"))
    # A row is dirty where a tracked file is, and not because one stayed behind.
    assert set(rows["git_dirty"]) == {bool(git("status", "--porcelain", "--untracked-files=no"))}


def _rays(host: Host) -> list[str]:
    """Command lines of Ray's processes on a host."""
    processes = host.run("ps", "-e", "-o", "args=").stdout.splitlines()
    return [line[:80] for line in processes if re.search(r"/ray/|^ray::", line)]
