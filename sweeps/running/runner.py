"""Run the cells that are left: through Ray Tune, or in this process."""

from __future__ import annotations

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
"""Number of attempts for a cell whose process dies.  Shards get smaller with each level, and at the last level each
cell has its own shard.  This finds a cell that kills its process, and loses no other cell."""
PIECES = 16
"""Shards of the second level: few enough to start quickly, many enough that few cells are left for the third level."""
MAX_NODES_LOST = 20
"""Number of rounds that may lose machines, such as spot machines, without reaching the next level."""
_NOTICE_SECONDS = 40.0
"""Seconds that Ray needs at most to notice that a machine is gone."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run computes, wherever it runs.

    Args:
        ranks: of each cell; cells with a lower rank start first.
        data: name of data set -> data, for all cells.
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
        ResultsError: the results folder cannot be written.
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

    A first round runs shards of cells.  Cells whose process died (out of memory, a lost node) run again in smaller
    shards, and at last alone.  A cell that kills its process even then is recorded as failed.

    The placement holds a trial's resources.  The expected number of trials at a time, `n_slots`, sizes the shards.

    Raises:
        ResultsError: the results folder cannot be read or written.
    """
    rank_of = dict(zip((cell.id for cell in run.cells), run.ranks, strict=True))
    gained = GainedCells(run.store, run.before, run.provenance.run_id, skip_own=False)
    left: list[Cell] = list(run.cells)
    errors: dict[str, Exception] = {}
    level = n_lost = 0
    gone = _gone_nodes()
    tuning = _Tuning(run, placement, n_slots)
    try:
        while left and level < LEVELS:
            shards = pack(
                left,
                run.seconds,
                n_slots,
                ranks=[rank_of[cell.id] for cell in left],
                longest=(MAX_SECONDS, min(MAX_SECONDS / 100, sum(map(run.seconds, left)) / PIECES), 0.0)[level],
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
        # Tune sometimes has no error for a trial that died.  Then the error of an earlier round is recorded.
        _record_as_failed(run, left, errors)
    finally:
        run.progress.set_running(running=0)
        # Don't let a failed clean-up hide the error of a write.
        with suppress(OSError):
            run.store.discard(TRAIN_FOLDER)


def _gone_nodes() -> set[str]:
    import ray

    return {node["NodeID"] for node in ray.nodes() if not node["Alive"]}


def _is_unreachable(error: Exception) -> bool:
    """Return whether a process does not answer; Ray reports a lost node so until Ray notices the loss."""
    from ray.exceptions import ActorUnavailableError

    return isinstance(getattr(error, "cause", error), ActorUnavailableError)


def _newly_gone(before: set[str], *, wait: bool) -> set[str]:
    """Return the nodes that are gone now and not in `before`; `wait` gives Ray the time to notice a lost node."""
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
    """Runs shards as Tune trials, one round after another."""

    def __init__(self, run: Run, placement: Placement, n_slots: int) -> None:
        import ray

        self._run, self._placement, self._n_slots = run, placement, n_slots
        self._data = {name: ray.put(data) for name, data in run.data.items()}

    def tune(self, shards: Sequence[Shard], *, max_failures: int) -> dict[str, Exception]:
        """Run shards in the given order; return cell id -> error for the cells of trials that died.

        A trial that died runs again at most `max_failures` times.
        """
        import ray
        from ray import tune

        from sweeps.cluster.fit import fit_trials
        from sweeps.running.trainables import ShardTrainable, Shared
        from sweeps.running.trial_events import StopWhere, TrialEvents

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
        # Tune sends the variables of the lambda below to every trial, so the lambda holds only this small list.
        wanted = [_resources(shard, self._placement) for shard in shards]
        results = fit_trials(
            tune.with_resources(trainable, lambda config: wanted[config["shard"]]),
            param_space={"shard": tune.grid_search(list(range(len(shards))))},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                max_concurrent_trials=self._n_slots if self._placement.n_train_workers > 1 else None,
                trial_dirname_creator=_short_name,
                trial_name_creator=_short_name,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                callbacks=[events],
                stop=StopWhere(events),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=max_failures),
            ),
        )
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
        # The Train workers have their own placement group.  The trial only waits for them, so it needs no CPU.
        return tune.PlacementGroupFactory([{"CPU": 0, "node:__internal_head__": 0.001}])
    gpus = placement.gpus_of(shard.cells[0][0])
    return tune.PlacementGroupFactory([{"CPU": float(placement.cpus), **({"GPU": gpus} if gpus else {})}])


def _short_name(trial: Any) -> str:
    return f"shard-{trial.trial_id}"
