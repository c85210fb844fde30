"""The cluster files as data, and the faults that Ray's own schema lets pass."""

from __future__ import annotations

import copy
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config

REPOSITORY = Path(__file__).parents[2]
AWS, GCP = REPOSITORY / "cluster.yaml", REPOSITORY / "clusters/gcp.yaml"
ON_PREMISE, KUBERAY = REPOSITORY / "clusters/on_premise.yaml", REPOSITORY / "clusters/kuberay.yaml"
# Where nodes in a cloud have the repository; commands run from other folders unless they go there first.
MOUNT = "/home/ray/crowdml"

Config = dict[str, Any]
Change = Callable[[Config], Any]


def load(path: Path) -> Config:
    """A file's content.  A YAML alias is one object in several places; a test that changes one must not change all."""
    return _unshared(yaml.safe_load(path.read_text()))


def check_with_ray(config: Config) -> Config:
    """What `ray up` does before it speaks to the hosts or the cloud: fill in the defaults, then the schema."""
    filled = prepare_config(copy.deepcopy(config))
    validate_config(filled)
    return filled


def node(name: str, **changes: Any) -> Change:
    """A change of one node type."""
    return lambda config: config["available_node_types"][name].update(changes)


def problems_of_node_types(config: Config) -> list[str]:
    """Amounts, limits and resources of the node types."""
    found = []
    for name, kind in config["available_node_types"].items():
        found += [
            f"{name}: {resource} is {amount!r}, not an integer"
            for resource, amount in kind["resources"].items()
            if type(amount) is not int
        ]
        if name == config["head_node_type"]:
            if kind.get("max_workers") != 0:
                found.append(f"{name}: max_workers is {kind.get('max_workers')}, not 0")
            if "driver" not in kind["resources"]:
                found.append(f"{name}: no resource `driver`")
            continue
        least, most = kind["min_workers"], kind["max_workers"]
        if least > most:
            found.append(f"{name}: min_workers {least} is over max_workers {most}")
        if most > config["max_workers"]:
            found.append(f"{name}: max_workers {most} is over the cluster's {config['max_workers']}")
        if kind["resources"].get("GPU", 0) < 1:
            found.append(f"{name}: no GPU")
    return found


def problems_of_images(docker: Config) -> list[str]:
    """Container images that are not Ray's version in constraints.txt, on Python 3.11."""
    ray = pins()["ray"]
    expected = {"head_image": f"rayproject/ray:{ray}-py311", "worker_image": f"rayproject/ray:{ray}-py311-gpu"}
    return [f"{key} is {docker.get(key)}, not {image}" for key, image in expected.items() if docker.get(key) != image]


def problems_of_files(config: Config, mount: str = MOUNT) -> list[str]:
    """Mounts and setup commands that name what is not in the repository, or do not pin."""
    mounts = config["file_mounts"]
    found = [f"{local} is not there to be mounted" for local in mounts.values() if not (REPOSITORY / local).exists()]
    if (REPOSITORY / mounts.get(mount, "absent")).resolve() != REPOSITORY.resolve():
        found.append(f"the repository is not mounted at {mount}")
    for key in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        for command in config.get(key, []):
            if "pip" in command or ".py" in command:
                found += _problems_of_command(command, mount)
    return found


def problems_of_sync(config: Config) -> list[str]:
    """Tracked files that stay behind, which would mark every row as dirty, and ignored ones that are sent."""
    excluded = config["rsync_exclude"]
    found = [f"tracked but not sent: {name}" for name in _tracked_and_excluded(excluded)]
    ignored = [line for line in (REPOSITORY / ".gitignore").read_text().split() if not line.startswith("!")]
    found += [f"ignored but sent: {line}" for line in ignored if not {line, f"/{line}"} & set(excluded)]
    if config.get("rsync_filter"):
        # Its `!` means another thing than git's: benchmarks/results/ stayed behind.
        found.append("rsync_filter: rsync reads exceptions in .gitignore otherwise than git")
    return found


def problems_of_ports(config: Config) -> list[str]:
    """A dashboard that others than the head itself reach."""
    start = " ".join(config["head_start_ray_commands"])
    return [
        f"no {option}" for option in ("--dashboard-host=127.0.0.1 ", "--dashboard-port=8265") if option not in start
    ]


def pins() -> dict[str, str]:
    """Package -> version, of constraints.txt."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def problems_of_pins(*packages: str) -> list[str]:
    """Pins in constraints.txt that an installed package does not bear: they would end `ray up` on the head."""
    pinned = pins()
    return [
        f"{package} wants {requirement}, constraints.txt pins {pinned[requirement.name]}"
        for package in packages
        for requirement in map(Requirement, requires(package) or [])
        if requirement.marker is None and requirement.name in pinned
        if not requirement.specifier.contains(pinned[requirement.name])
    ]


def git(*arguments: str) -> list[str]:
    """Lines that git prints about this repository; skips the test where there is no git or no checkout."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("needs git and a checkout")
    done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _tracked_and_excluded(patterns: Sequence[str]) -> list[str]:
    """Git and rsync understand such patterns alike."""
    return git("ls-files", "--cached", "--ignored", *(f"--exclude={pattern}" for pattern in patterns))


def _problems_of_command(command: str, mount: str) -> list[str]:
    if not command.startswith(f"cd {mount} && "):
        return [f"`{command}` does not go to {mount}"]
    words = command.removeprefix(f"cd {mount} && ").replace('"', "").replace("'", "").split()
    found = []
    for word in words[1:]:
        name, _, extras = word.partition("[")
        looks_like_a_file = "/" in name or name == "." or Path(name).suffix in {".txt", ".py", ".sh", ".toml"}
        if looks_like_a_file and not name.startswith("~") and not (REPOSITORY / name).exists():
            found.append(f"`{command}`: {name} is not in the repository")
        found += [
            f"`{command}`: pyproject.toml has no extra {extra}"
            for extra in extras.rstrip("]").split(",")
            if extra and extra not in _extras()
        ]
    if words[0].endswith("pip") and "-c constraints.txt" not in command:
        found.append(f"`{command}` does not pin with -c constraints.txt")
    return found


def _extras() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return set(project.get("optional-dependencies", {}))


def _unshared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value
