"""The processes of the shards on Ray: a call to all of them at once, and sums along a tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from crowdml.aggregation.inference.kernels import Expectation
from sweeps.aggregation.shard_worker import LogTables, Plan, Shard
from sweeps.cluster.connect import ClusterError

FAN_IN = 8
"""Sums that one task adds up."""
MAX_RESTARTS = 20
"""Lost processes that are replaced, for each shard."""


class Pool:
    """One process a shard, for the duration of a `with`.

    Args:
        plan: what all shards share.
        cpus: of the cluster; where there are more shards than CPUs, several share one.
    """

    def __init__(self, plan: Plan, *, cpus: float) -> None:
        import ray

        self._plan = ray.put(plan)
        # A fraction of which a whole number fills a CPU, so that no node has a rest that nobody can use.
        share = 1 / math.ceil(len(plan.shards) / max(cpus, 1))
        # A call that was lost with its process is repeated on the next one, which restores what it needs.
        remote = ray.remote(num_cpus=share, max_restarts=MAX_RESTARTS, max_task_retries=-1)(ShardProcess)
        self._shards: list[Any] = [remote.remote(number) for number in range(len(plan.shards))]
        self._iteration, self._tables = 0, None

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        for shard in self._shards:
            ray.kill(shard)

    def first(self) -> Expectation:
        """The sums under the first posterior."""
        return _add_up(self._call("first"))

    def votes(self) -> Expectation:
        """The sums with each item's whole weight on its majority label."""
        return _add_up(self._call("votes"))

    def step(self, tables: LogTables) -> Expectation:
        """The sums of the next E-step."""
        import ray

        before, self._tables = self._tables, ray.put(tables)
        self._iteration += 1
        return _add_up(self._call("step", self._iteration, self._tables, before))

    def n_items(self) -> int:
        """Number of items of all shards."""
        return sum(get(self._call("n_items")))

    def write(self, folder: str) -> None:
        """Each shard writes its file of the consensus (see `Shard.write`)."""
        get(self._call("write", self._iteration, self._tables, folder))

    def _call(self, what: str, *arguments: Any) -> list[Any]:
        return [shard.call.remote([self._plan], what, *arguments) for shard in self._shards]


class ShardProcess:
    """The process of a shard, and those that take its place.

    Every call brings a reference to what all shards share, in a list so that it is fetched once a process: arguments
    of the constructor in the object store are not kept for a second process.

    Args:
        number: of the shard, from 0.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._shard: Shard | None = None

    def call(self, plan: Sequence[Any], what: str, *arguments: Any) -> Any:
        """The shard's method of that name."""
        import ray

        if self._shard is None:
            self._shard = Shard(ray.get(plan[0]), self._number)
        return getattr(self._shard, what)(*arguments)


def run_tasks(function: Callable[..., Any], arguments: Sequence[Sequence[Any]]) -> list[Any]:
    """function(*arguments[i]) of each i as a task of one CPU, in order."""
    import ray

    task = ray.remote(function)
    return get([task.remote(*each) for each in arguments])


def get(refs: Sequence[Any]) -> list[Any]:
    """What the tasks return.

    Raises:
        ValueError: what a task raised because of malformed input.
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
            f"a shard's process died more than {MAX_RESTARTS} times; give it more memory, or take more shards: {error}"
        ) from error


def add(*sums: Expectation) -> Expectation:
    """The sums over the items of several shards."""
    counts, class_counts, evidence, moved = zip(*sums, strict=True)
    return Expectation(np.sum(counts, axis=0), np.sum(class_counts, axis=0), float(sum(evidence)), max(moved))


def _add_up(refs: list[Any]) -> Expectation:
    """The sum over all shards: no process, this one included, takes in more than FAN_IN sums."""
    import ray

    # No CPU of their own: they would wait for those that the shards hold.
    task = ray.remote(num_cpus=0)(add)
    while len(refs) > FAN_IN:
        refs = [task.remote(*refs[at : at + FAN_IN]) for at in range(0, len(refs), FAN_IN)]
    return add(*get(refs))
