"""Record where a row comes from: code, packages, machine, data."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sweeps.store.scrubbing import scrub

PACKAGES = (
    "crowdml", "ray", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "optuna",
)  # fmt: skip
COMMIT_VARIABLE = "CROWDML_GIT_COMMIT"
"""Environment variable with the commit, for container images without a repository."""


@dataclass(frozen=True)
class Provenance:
    """The facts that all rows of a run share.  The driver collects them once; every process that writes has a copy.

    Args:
        git_commit: commit of the repository that holds the code, else the value of COMMIT_VARIABLE, else None.
        git_dirty: whether tracked files differ from the commit; None if unknown.
        versions: package -> version.
        fingerprints: data set -> content hash.
        command: the command line, without secrets.
        run_id: id of the run; None outside a sweep.
    """

    git_commit: str | None
    git_dirty: bool | None
    versions: Mapping[str, str]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    command: str | None = None
    run_id: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the provenance columns, without `data_fingerprint`, of the rows that this machine writes now."""
        return {
            "git_commit": self.git_commit,
            "git_dirty": self.git_dirty,
            "versions": json.dumps(dict(self.versions), sort_keys=True),
            "host": socket.gethostname(),
            "command": self.command,
            "run_id": self.run_id,
            "finished_at": datetime.now(UTC),
        }


def collect(fingerprints: Mapping[str, str], *, command: str | None = None, run_id: str | None = None) -> Provenance:
    """Return the provenance of a run that starts now.

    Args:
        fingerprints: data set -> content hash of each data set of the run.
        command: the command line of the run as typed; secrets are removed.
        run_id: id of the run that writes the rows; None outside a sweep.
    """
    repository = Path(__file__).parents[2]
    commit = _git(repository, "rev-parse", "HEAD")
    changes = None if commit is None else _git(repository, "status", "--porcelain", "--untracked-files=no")
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Provenance(
        git_commit=commit or os.environ.get(COMMIT_VARIABLE) or None,
        git_dirty=None if changes is None else bool(changes),
        versions=versions,
        fingerprints=dict(fingerprints),
        command=None if command is None else scrub(command),
        run_id=run_id,
    )


def _git(repository: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
