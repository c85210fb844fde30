"""A node gets a data set once, however many trials compute with it, and its processes share the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crowdml import datasets
from sweeps.cluster.connect import join
from tests.cluster.nodes import Command, ray_nodes, wait_until
from tests.cluster.results import n_attempts

DATASET = "cifar10_labels"
GRID = ["--preset", "labels", "--datasets", DATASET, "--patterns", "uniform", "--workers", "3", "--missing-rates", "0"]
GRID += ["--methods", "tests.cells:Slow", "--seeds", *map(str, range(40))]
RAYS_OWN_BYTES = 300_000
"""Besides, the stores hold the code of the trials."""


@pytest.mark.slow
def test_a_node_holds_each_data_set_once(tmp_path: Path) -> None:
    size = datasets.load(DATASET).nbytes
    with ray_nodes() as nodes:
        command = Command(GRID, tmp_path / "r", nodes.address)
        # The head, where the driver is, and two workers.
        wait_until(lambda: n_attempts(tmp_path / "r") > 5 and nodes.bytes_stored() >= 3 * size, of=command)
        wait_until(lambda: n_attempts(tmp_path / "r") > 25, of=command)
        assert 3 * size <= nodes.bytes_stored() < 3 * size + RAYS_OWN_BYTES
        assert command.wait() == 0, command.output

        with join(nodes.address):
            own = _on_a_node()
        assert own
        assert not any(own)


def _on_a_node() -> list[bool]:
    """Whether a process that is given the data set has arrays of its own."""
    import ray

    def own_arrays(data: Any) -> list[bool]:
        return [array.flags.writeable for array in data.arrays if array is not None and array.size]

    return ray.get(ray.remote(own_arrays).remote(ray.put(datasets.load(DATASET))))
