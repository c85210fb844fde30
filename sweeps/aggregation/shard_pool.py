"""ShardPool: one Ray process per shard, calls to all processes at once, and a tree of tasks that adds up the results.

Ray is imported inside the functions, because `sweeps.cluster.connect` sets Ray's environment variables first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from crowdml.aggregation.inference.kernels import Expectation
from sweeps.aggregation.crowd_shard import CrowdShard, LogTables, ShardedCrowd
from sweeps.cluster.connect import ClusterError

FAN_IN = 8
"""Number of sums that one task adds up."""
MAX_RESTARTS = 20
"""How often a shard's process is replaced after it died."""


class ShardPool:
    """One process per shard; the processes end with the `with` block.

    If there are more shards than CPUs in the cluster, several shards share one CPU.
    """

    def __init__(self, crowd: ShardedCrowd, *, cpus: float) -> None:
        import ray

        self._crowd = ray.put(crowd)
        # A whole number of these shares fills a CPU, so that no part of a CPU is left over.
        share = 1 / math.ceil(len(crowd.shards) / max(cpus, 1))
        # If a process dies, Ray repeats its call on a new process, which restores the posterior.
        process = ray.remote(num_cpus=share, max_restarts=MAX_RESTARTS, max_task_retries=-1)(ShardProcess)
        self._shards: list[Any] = [process.remote(number) for number in range(len(crowd.shards))]
        self._iteration, self._tables = 0, None

    def __enter__(self) -> ShardPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        for shard in self._shards:
            ray.kill(shard)

    def first(self) -> Expectation:
        """Return the sums under the first posterior."""
        return _add_up(self._call("first"))

    def votes(self) -> Expectation:
        """Return the sums if each item's majority label has probability 1."""
        return _add_up(self._call("votes"))

    def step(self, tables: LogTables) -> Expectation:
        """Carry out the next E-step in all shards and return its sums."""
        import ray

        before, self._tables = self._tables, ray.put(tables)
        self._iteration += 1
        return _add_up(self._call("step", self._iteration, self._tables, before))

    def n_items(self) -> int:
        """Return the number of items of all shards."""
        return sum(get(self._call("n_items")))

    def most_labels(self) -> int:
        """Return the largest number of labels of an item."""
        return max(get(self._call("most_labels")))

    def write(self, folder: str) -> None:
        """Write one file of the consensus per shard (see `CrowdShard.write`)."""
        get(self._call("write", self._iteration, self._tables, folder))

    def _call(self, method: str, *arguments: Any) -> list[Any]:
        return [shard.call.remote([self._crowd], method, *arguments) for shard in self._shards]


class ShardProcess:
    """A Ray actor that holds the shard of a number, from 0.

    Each call passes a reference to the crowd, inside a list so that Ray does not fetch the crowd for each call.  The
    crowd is not a constructor argument, because Ray would lose this argument when it replaces the process.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._shard: CrowdShard | None = None

    def call(self, crowd: Sequence[Any], method: str, *arguments: Any) -> Any:
        """Call a method of the shard by its name."""
        import ray

        if self._shard is None:
            self._shard = CrowdShard(ray.get(crowd[0]), self._number)
        return getattr(self._shard, method)(*arguments)


def run_tasks(function: Callable[..., Any], arguments: Sequence[Sequence[Any]]) -> list[Any]:
    """Call function(*arguments[i]) for each i as a Ray task with one CPU; return the results in order."""
    import ray

    task = ray.remote(function)
    return get([task.remote(*each) for each in arguments])


def get(refs: Sequence[Any]) -> list[Any]:
    """Return the results of tasks.

    Raises:
        ValueError: a task found malformed input.
        ClusterError: a shard's process died too often.
    """
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    try:
        return ray.get(list(refs))
    except RayTaskError as error:
        if isinstance(error.cause, ValueError):
            raise error.cause from None
        raise
    except RayActorError as error:
        raise ClusterError(
            f"a shard's process died more than {MAX_RESTARTS} times; give it more memory, or use more shards: {error}"
        ) from error


def add(*sums: Expectation) -> Expectation:
    """Return the sums over the items of several shards."""
    counts, class_counts, evidence, moved = zip(*sums, strict=True)
    return Expectation(np.sum(counts, axis=0), np.sum(class_counts, axis=0), float(sum(evidence)), max(moved))


def _add_up(refs: list[Any]) -> Expectation:
    """Return the sum over all shards; no process, including this process, receives more than FAN_IN sums."""
    import ray

    # The tasks request no CPU, because they would wait for the CPUs that the shards hold.
    task = ray.remote(num_cpus=0)(add)
    while len(refs) > FAN_IN:
        refs = [task.remote(*refs[at : at + FAN_IN]) for at in range(0, len(refs), FAN_IN)]
    return add(*get(refs))
