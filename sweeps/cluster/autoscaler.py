"""Find out how large an autoscaled Ray cluster may become.  Ray itself tells only how large the cluster is now."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

LIMITS_VARIABLE = "CROWDML_CLUSTER_LIMITS"
"""Environment variable with the limits as JSON, for clusters whose autoscaler runs elsewhere, such as KubeRay."""
CONFIG_FLAG = "--autoscaling-config="


def autoscaler_limits() -> dict[str, float]:
    """Return the largest numbers of CPUs and GPUs that the cluster may have; empty without an autoscaler.

    The environment variable CROWDML_CLUSTER_LIMITS states the numbers.  Without the variable, they come from the
    cluster file of the autoscaler, which runs on the head node; on other nodes the autoscaler is not found.

    Raises:
        ValueError: CROWDML_CLUSTER_LIMITS is not a JSON object of amounts.
    """
    if stated := os.environ.get(LIMITS_VARIABLE):
        try:
            return {str(name): float(amount) for name, amount in json.loads(stated).items()}
        except (ValueError, TypeError, AttributeError) as error:
            example = '{"CPU": 38, "GPU": 4}'
            raise ValueError(f"{LIMITS_VARIABLE} must be JSON such as {example}, got {stated!r}") from error
    config = _running_config()
    return {} if config is None else cluster_limits(yaml.safe_load(config.read_text()))


def cluster_limits(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the CPUs and GPUs of the head and of all workers that the content of a Ray cluster file allows.

    Node types without `resources` do not count.
    """
    types = config["available_node_types"]
    head = types[config["head_node_type"]].get("resources", {})
    return {name: head.get(name, 0) + _most_of_workers(config, name) for name in ("CPU", "GPU")}


def _most_of_workers(config: Mapping[str, Any], resource: str) -> float:
    """Return the largest amount of one resource that `max_workers` workers have together."""
    left = config.get("max_workers", 0)
    amounts = [
        (kind.get("resources", {}).get(resource, 0), kind.get("max_workers", left))
        for kind in config["available_node_types"].values()
    ]
    total = 0.0
    for amount, allowed in sorted(amounts, reverse=True):
        taken = min(left, allowed)
        total += amount * taken
        left -= taken
    return total


def _running_config() -> Path | None:
    """Return the cluster file of the autoscaler process on this machine, or None."""
    for process in psutil.process_iter(["cmdline"]):
        for word in process.info["cmdline"] or ():
            path = Path(word.removeprefix(CONFIG_FLAG)).expanduser()
            if word.startswith(CONFIG_FLAG) and path.is_file():
                return path
    return None
