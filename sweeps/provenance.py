"""Where a row comes from: code, packages, machine, data."""

from __future__ import annotations

import json
import platform
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("crowdml", "ray", "torch", "numpy", "scipy", "pyarrow")


@dataclass(frozen=True)
class Provenance:
    """What is the same for all rows of a run; made once by the driver and carried to whoever writes.

    Args:
        git_commit: of the repository the code lies in, None outside one.
        git_dirty: whether tracked files differ from that commit.
        versions: package -> version.
        fingerprints: data set -> content hash.
    """

    git_commit: str | None
    git_dirty: bool | None
    versions: Mapping[str, str]
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def columns(self, dataset: str) -> dict[str, Any]:
        """The provenance columns of rows of that data set, finished now on this machine."""
        return {
            "data_fingerprint": self.fingerprints.get(dataset),
            "git_commit": self.git_commit,
            "git_dirty": self.git_dirty,
            "versions": json.dumps(dict(self.versions), sort_keys=True),
            "host": socket.gethostname(),
            "finished_at": datetime.now(UTC),
        }


def collect(fingerprints: Mapping[str, str]) -> Provenance:
    """The provenance of a run that starts now."""
    repository = Path(__file__).parent.parent
    commit = _git(repository, "rev-parse", "HEAD")
    changes = _git(repository, "status", "--porcelain", "--untracked-files=no")
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Provenance(
        git_commit=commit,
        git_dirty=None if changes is None else bool(changes),
        versions=versions,
        fingerprints=dict(fingerprints),
    )


def _git(repository: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
