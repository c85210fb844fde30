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
from sweeps.running.gained_cells import Before, GainedCells
from sweeps.running.shards import MAX_SECONDS, Shard, pack
from sweeps.store.provenance import Provenance
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.store.scrubbing import scrub
from sweeps.watching.progress import Progress
from sweeps.watching.tally import Outcome, last_line

TRAIN_FOLDER = ".train"
NO_RESULT = "the trial ended without a result"
LEVELS = 3
"""How often a process may die on a cell.  Cells that were lost with their process get smaller shards each time, and at
last a shard each, so that a cell that kills its process is found and costs no other cell."""
PIECES = 16
"""Shards of the second level: few enough to start quickly, many enough that few cells are left for the third level."""
MAX_NODES_LOST = 20
"""Rounds in which machines go away, as spot machines do, before a process that dies counts against its cells."""
_NOTICE_SECONDS = 40.0
"""The time that Ray needs at most to notice that a machine is gone."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run computes, wherever it runs.

    Args:
        cells: the cells to compute.
        ranks: of each cell; cells with a lower rank start first.
        data: data set name -> data, for all cells.
        store: where results go; the folder exists.
        before: what the store held when the run began.
        provenance: of the rows.
        seconds: returns the estimated wall seconds of a cell.
        progress: an entered progress view.
    """

    cells: Sequence[Cell]
    ranks: Sequence[int]
    data: Mapping[str, ImageData | CrowdData]
    store: ResultStore
    before: Before
    provenance: Provenance
    seconds: Callable[[Cell], float]
    progress: Progress


def run_inline(run: Run) -> None:
    """Compute the cells one after the other in this process, without Ray.

    Raises:
        ResultsError: the results folder cannot be read or written.
    """
    worker = CellWorker(run.store, run.provenance, run.data.__getitem__, run.before)
    try:
        for shard in pack(run.cells, run.seconds, 1, ranks=run.ranks, seed=run.provenance.run_id):
            worker.take(shard.cells)
            while not worker.is_done:
                run.progress.set_running(running=1)
                run.progress.record(worker.work())
    finally:
        run.progress.set_running(running=0)


def run_on_ray(run: Run, placement: Placement, *, n_slots: int) -> None:
    """Compute the cells as Tune trials on the connected Ray cluster, until each cell has a row.

    A first round runs shards of cells.  Cells that are lost with their process (out of memory, a lost node) run again
    in smaller shards, and at last alone, so that a cell that kills its process is found and recorded as failed.

    Args:
        run: what to compute.
        placement: resources of a trial.
        n_slots: the expected number of trials at a time; sizes the shards.

    Raises:
        ResultsError: the results folder cannot be read or written.
    """
    rank_of = dict(zip((cell.id for cell in run.cells), run.ranks, strict=True))
    gained = GainedCells(run.store, run.before, run.provenance.run_id, skip_own=False)
    left: list[Cell] = list(run.cells)
    errors: dict[str, Exception] = {}
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
                    seed=run.provenance.run_id,
                )
                found = tuning.tune(shards, max_failures=int(level == LEVELS - 1))
                errors |= found
                gained.look()
                run.progress.record(list(gained.outcomes.values()))
                left = [cell for cell in left if cell.id not in gained.outcomes]
                lost = _newly_gone(gone, wait=bool(left) and any(map(_is_unreachable, found.values())))
                gone |= lost
                n_lost += bool(lost)
                if not lost or n_lost > MAX_NODES_LOST:
                    level += 1
            # Tune sometimes has no error for a trial that died.  The error of an earlier round then says as much.
            _record_as_failed(run, left, errors)
        finally:
            run.progress.set_running(running=0)
            # Don't let a failed clean-up hide the error of a write.
            with suppress(OSError):
                run.store.discard(TRAIN_FOLDER)


def _longest(level: int, seconds: float) -> float:
    """Return the most estimated seconds of a shard, where all remaining cells take `seconds`."""
    return (MAX_SECONDS, min(MAX_SECONDS / 100, seconds / PIECES), 0.0)[level]


def _gone_nodes() -> set[str]:
    import ray

    return {node["NodeID"] for node in ray.nodes() if not node["Alive"]}


def _is_unreachable(error: Exception) -> bool:
    """Return whether a process does not answer, which is how Ray reports a lost node until it notices the loss."""
    from ray.exceptions import ActorUnavailableError

    return isinstance(getattr(error, "cause", error), ActorUnavailableError)


def _newly_gone(before: set[str], *, wait: bool) -> set[str]:
    """Return the nodes that are gone now and were not before.

    Args:
        before: nodes that were gone before.
        wait: give Ray the time to notice a lost node.
    """
    deadline = time.monotonic() + (_NOTICE_SECONDS if wait else 0.0)
    while not (gone := _gone_nodes() - before) and time.monotonic() < deadline:
        time.sleep(0.5)
    return gone


def _record_as_failed(run: Run, cells: Sequence[Cell], errors: Mapping[str, Exception]) -> None:
    results, outcomes = [], []
    for cell in cells:
        error = errors.get(cell.id)
        text = NO_RESULT if error is None else str(error)
        results.append(failed(cell, text, kind=error and type(error).__name__))
        outcomes.append(Outcome(cell.id, False, 0.0, None, None, last_line(scrub(text)), own=True))
    run.store.write(results, run.provenance)
    run.progress.record(outcomes)


class _Tuning:
    """Runs shards as Tune trials, one round after the other."""

    def __init__(self, run: Run, placement: Placement, n_slots: int, storage: str) -> None:
        import ray

        self._run, self._placement, self._n_slots, self._storage = run, placement, n_slots, storage
        self._data = {name: ray.put(data) for name, data in run.data.items()}
        self._n_rounds = 0

    def tune(self, shards: Sequence[Shard], *, max_failures: int) -> dict[str, Exception]:
        """Run the shards; return cell id -> error, for the cells of the trials that died.

        Args:
            shards: in starting order.
            max_failures: how often a trial that died runs again.

        Raises:
            ResultsError: the results folder cannot be read or written.
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
            before=self._run.before,
            provenance=self._run.provenance,
            placement=self._placement,
            storage=self._run.store.location_of(TRAIN_FOLDER),
        )
        events = TrialEvents(self._run.progress)
        trainable = tune.with_parameters(ShardTrainable, shared=shared)
        # Tune sends what the function below holds to every trial, so it holds little.
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
            cell.id: result.error
            for result in results
            if result.error is not None and result.config is not None
            for cell, _ in shards[result.config["shard"]].cells
        }


def _resources(shard: Shard, placement: Placement) -> Any:
    from ray import tune

    if shard.trains and placement.n_train_workers > 1:
        # The Train workers have their own placement group.  The trial that waits for them takes next to nothing.
        return tune.PlacementGroupFactory([{"CPU": 0, "node:__internal_head__": 0.001}])
    gpus = placement.gpus_of(shard.cells[0][0])
    return tune.PlacementGroupFactory([{"CPU": float(placement.cpus), **({"GPU": gpus} if gpus else {})}])


def _short_name(trial: Any) -> str:
    return f"shard-{trial.trial_id}"
