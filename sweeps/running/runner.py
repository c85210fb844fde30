"""Run the cells that are left: through Ray Tune, or in this process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from crowdml.datasets import CrowdData, ImageData
from crowdml.experiment.cell import Cell
from crowdml.experiment.result import failed
from sweeps.estimates.placement import Placement
from sweeps.running.cell_worker import CellWorker
from sweeps.running.shards import MAX_SECONDS, Shard, pack
from sweeps.running.taking_turns import without_new_attempt
from sweeps.store.provenance import Provenance
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.store.scrubbing import scrub
from sweeps.watching.progress import Progress
from sweeps.watching.tally import Outcome

TRAIN_FOLDER = ".train"
NO_RESULT = "the trial ended without a result"
LEVELS = 3
"""How often a process may die on a cell.  Cells that were lost with theirs get smaller shards each time, in the end
each its own, so that one that kills its process is found and costs no other."""
PIECES = 16
"""Of what was lost, the second time; few enough to start quickly, many enough that few cells are left for the third."""
MAX_NODES_LOST = 20
"""Rounds in which machines went away, as spot machines do, before a process that dies counts against its cells."""
_UNREACHABLE, _NOTICE_SECONDS = "unavailable", 40.0
"""What Ray says of a process that does not answer, and how long it takes at most to notice that a machine is gone."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything a run needs besides the place it runs at.

    Args:
        cells: those to compute, in the order in which they are wanted where ranks are equal.
        ranks: of each cell; those of a lower one start first.
        data: data set name -> data, for all cells.
        store: where results go; it exists.
        before: attempts that are no answer, for they were there before the run.
        provenance: of the rows.
        seconds: estimated wall seconds of a cell.
        progress: is told how cells end; entered already.
    """

    cells: Sequence[Cell]
    ranks: Sequence[int]
    data: Mapping[str, ImageData | CrowdData]
    store: ResultStore
    before: Mapping[str, str]
    provenance: Provenance
    seconds: Callable[[Cell], float]
    progress: Progress


def run_inline(run: Run) -> None:
    """Compute the cells one after the other in this process, without Ray.

    Raises:
        ResultsError: rows cannot be written.
    """
    worker = CellWorker(run.store, run.provenance, run.data.__getitem__)
    try:
        for shard in pack(run.cells, run.seconds, 1, ranks=run.ranks):
            todo = list(reversed(shard.cells))
            while todo:
                run.progress.set_running(running=1)
                ended = worker.work(todo)
                run.progress.record(ended.outcomes, errors=ended.errors)
    finally:
        run.progress.set_running(running=0)


def run_on_ray(run: Run, placement: Placement, *, n_slots: int) -> None:
    """Compute the cells as Tune trials on the connected Ray cluster.

    A first round runs shards of cells.  What a dead process took with it (out of memory, a lost node) is run again in
    smaller shards, at last one cell a trial, so that a cell that kills its process is found and recorded as failed, and
    costs no other cell.

    Args:
        run: what to compute.
        placement: resources of a trial.
        n_slots: trials at a time, as far as is known; sizes the shards.

    Raises:
        ResultsError: rows cannot be written.
    """
    rank_of = dict(zip((cell.id for cell in run.cells), run.ranks, strict=True))
    left, errors = list(run.cells), {}
    level = n_lost = 0
    gone = _gone_nodes()
    with tempfile.TemporaryDirectory(prefix="crowdml-tune-") as storage:
        tuning = _Tuning(run, placement, n_slots, storage)
        try:
            while left and level < LEVELS:
                shards = pack(
                    left,
                    run.seconds,
                    n_slots,
                    ranks=[rank_of[cell.id] for cell in left],
                    longest=_longest(level, sum(map(run.seconds, left))),
                    mix=bool(placement.gpus),
                )
                found = tuning.tune(shards, max_failures=int(level == LEVELS - 1))
                errors |= found
                left = without_new_attempt(run.store, run.cells, run.before)
                unreachable = bool(left) and any(_UNREACHABLE in error for error in found.values())
                lost = _newly_gone(gone, wait=unreachable)
                gone |= lost
                n_lost += bool(lost)
                if not lost or n_lost > MAX_NODES_LOST:
                    level += 1
            # Tune now and then has no error for a trial that died; that of the shard it died in says as much.
            _record_as_failed(run, left, errors)
        finally:
            run.progress.set_running(running=0)
            # Where nothing can be written that is what the run ends with, not what is left of Ray Train's state.
            with suppress(OSError):
                run.store.discard(TRAIN_FOLDER)


def _longest(level: int, seconds: float) -> float:
    """Of a shard, in estimated seconds, where all that is left takes so many."""
    return (MAX_SECONDS, min(MAX_SECONDS / 100, seconds / PIECES), 0.0)[level]


def _gone_nodes() -> set[str]:
    import ray

    return {node["NodeID"] for node in ray.nodes() if not node["Alive"]}


def _newly_gone(before: set[str], *, wait: bool) -> set[str]:
    """Nodes that are gone now and were not before.

    The error of a process says too little: that of one on a lost node may be that it does not answer, for Ray notices
    later that the node is gone.
    """
    deadline = time.monotonic() + (_NOTICE_SECONDS if wait else 0.0)
    while not (gone := _gone_nodes() - before) and time.monotonic() < deadline:
        time.sleep(0.5)
    return gone


def _record_as_failed(run: Run, cells: Sequence[Cell], errors: Mapping[str, str]) -> None:
    dead = [failed(cell, errors.get(cell.id, NO_RESULT)) for cell in cells]
    run.store.write(dead, run.provenance)
    run.progress.record(
        [Outcome(cell.id, False, 0.0, None, None) for cell in cells],
        errors={result.cell.id: scrub(result.error or "") for result in dead},
    )


class _Tuning:
    """Runs shards as Tune trials, round after round."""

    def __init__(self, run: Run, placement: Placement, n_slots: int, storage: str) -> None:
        import ray

        self._run, self._placement, self._n_slots, self._storage = run, placement, n_slots, storage
        self._data = {name: ray.put(data) for name, data in run.data.items()}
        self._n_rounds = 0

    def tune(self, shards: Sequence[Shard], *, max_failures: int) -> dict[str, str]:
        """Run the shards; returns the error of each trial that died, by the ids of its cells.

        Args:
            shards: in the order in which they are to start.
            max_failures: how often a trial that died is run again.

        Raises:
            ResultsError: rows cannot be written.
        """
        import ray
        from ray import tune

        from sweeps.running.trainables import ShardTrainable, Shared
        from sweeps.running.trial_events import StopWhere, TrialEvents

        self._n_rounds += 1
        shared = Shared(
            shards=[ray.put(shard) for shard in shards],
            data=self._data,
            location=self._run.store.absolute_location,
            provenance=self._run.provenance,
            placement=self._placement,
            storage=self._run.store.location_of(TRAIN_FOLDER),
        )
        events = TrialEvents(self._run.progress)
        trainable = tune.with_parameters(ShardTrainable, shared=shared)
        # Tune sends what the function below holds to every trial, so that is little.
        wanted = [_resources(shard, self._placement) for shard in shards]
        tuner = tune.Tuner(
            tune.with_resources(trainable, lambda config: wanted[config["shard"]]),
            param_space={"shard": tune.grid_search(list(range(len(shards))))},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                max_concurrent_trials=self._n_slots if self._placement.n_train_workers > 1 else None,
                trial_dirname_creator=_short_name,
                trial_name_creator=_short_name,
            ),
            run_config=tune.RunConfig(
                name=f"round-{self._n_rounds}",
                storage_path=self._storage,
                verbose=0,
                callbacks=[events],
                stop=StopWhere(events),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=max_failures),
            ),
        )
        results = tuner.fit()
        if events.unwritable is not None:
            raise ResultsError(events.unwritable)
        return {
            cell.id: str(result.error)
            for result in results
            if result.error is not None and result.config is not None
            for cell, _ in shards[result.config["shard"]].cells
        }


def _resources(shard: Shard, placement: Placement) -> Any:
    from ray import tune

    if shard.trains and placement.n_train_workers > 1:
        # The Train workers bring their own placement group; the trial that waits for them takes next to nothing.
        return tune.PlacementGroupFactory([{"CPU": 0, "node:__internal_head__": 0.001}])
    gpus = placement.gpus_of(shard.cells[0][0])
    return tune.PlacementGroupFactory([{"CPU": float(placement.cpus), **({"GPU": gpus} if gpus else {})}])


def _short_name(trial: Any) -> str:
    return f"shard-{trial.trial_id}"
