"""Run the cells that are left: through Ray Tune, or in this process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from crowdml.datasets import CrowdData, ImageData
from crowdml.experiment import Cell, attempt_cell, failed
from sweeps.progress import Progress
from sweeps.provenance import Provenance
from sweeps.shards import Shard, pack
from sweeps.store import ResultStore

INLINE_FLUSH_SECONDS = 2.0
TRAIN_FOLDER = ".train"
NO_RESULT = "the trial ended without a result"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What a trial gets.

    Args:
        cpus: processors a trial, and a Ray Train worker.
        gpus: GPUs a training trial, a share or a whole number; label-only trials get none.
        n_train_workers: Ray Train workers of a training cell; more than one trains with DDP.
    """

    cpus: int = 1
    gpus: float = 0.0
    n_train_workers: int = 1


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything a run needs besides the place it runs at.

    Args:
        cells: those to compute.
        n_cells, n_done: size of the whole grid, and how much of it was there before.
        data: data set name -> data, for all cells.
        store: where results go; it exists.
        provenance: of the rows.
        seconds: estimated wall seconds of a cell.
        console: for the progress line.
    """

    cells: Sequence[Cell]
    n_cells: int
    n_done: int
    data: Mapping[str, ImageData | CrowdData]
    store: ResultStore
    provenance: Provenance
    seconds: Callable[[Cell], float]
    console: Console

    def progress(self, n_slots: int) -> Progress:
        """The progress line of this run."""
        return Progress(
            self.console,
            n_cells=self.n_cells,
            n_done=self.n_done,
            seconds=sum(self.seconds(cell) for cell in self.cells),
            n_slots=n_slots,
        )


def run_inline(run: Run) -> None:
    """Compute the cells one after the other in this process, without Ray."""
    with run.progress(1) as progress:
        progress.n_running = 1
        results, flushed = [], time.monotonic()
        for number, cell in enumerate(run.cells, 1):
            start = time.monotonic()
            result = attempt_cell(cell, run.data[cell.dataset])
            results.append(result)
            if time.monotonic() - flushed >= INLINE_FLUSH_SECONDS or number == len(run.cells):
                run.store.write(results, run.provenance)
                results, flushed = [], time.monotonic()
            ok = result.status == "ok"
            actual = time.monotonic() - start
            progress.add(n_ok=int(ok), n_failed=int(not ok), estimated=run.seconds(cell), actual=actual)
        progress.n_running = 0


def run_on_ray(run: Run, placement: Placement, *, n_slots: int) -> None:
    """Compute the cells as Tune trials on the connected Ray cluster.

    A first pass runs shards of cells.  What a dead process took with it (out of memory, a lost node) is run again in
    a second pass, one cell a trial, so that a cell that kills its process is found and recorded as failed, and costs
    no other cell.

    Args:
        run: what to compute.
        placement: resources of a trial.
        n_slots: trials at a time, as far as is known; sizes the shards.
    """
    import ray

    from sweeps.trainables import Shared

    before = run.store.attempts()
    with tempfile.TemporaryDirectory(prefix="crowdml-tune-") as storage, run.progress(n_slots) as progress:
        shared = Shared(
            data={name: ray.put(data) for name, data in run.data.items()},
            location=run.store.absolute_location,
            provenance=run.provenance,
            cpus=placement.cpus,
            gpus=placement.gpus,
            n_train_workers=placement.n_train_workers,
            storage=run.store.location_of(TRAIN_FOLDER),
        )
        try:
            shards = pack(run.cells, run.seconds, n_slots)
            errors = _tune(shards, shared, placement, progress, storage, "shards", max_failures=0)
            lost = _without_result(run, before)
            if lost:
                singles = [Shard(((cell, run.seconds(cell)),)) for cell in lost]
                # Tune now and then has no error for a trial that died; that of the shard it died in says as much.
                errors |= _tune(singles, shared, placement, progress, storage, "singles", max_failures=1)
                dead = [failed(cell, errors.get(cell.id, NO_RESULT)) for cell in _without_result(run, before)]
                run.store.write(dead, run.provenance)
                progress.add(n_ok=0, n_failed=len(dead), estimated=0.0, actual=0.0)
        finally:
            progress.n_running = 0
            run.store.discard(TRAIN_FOLDER)


def _without_result(run: Run, before: Mapping[str, str]) -> list[Cell]:
    """The run's cells that have no attempt of their own; an old failure is no result of a run that retries."""
    recorded = {cell_id for attempt, cell_id in run.store.attempts().items() if attempt not in before}
    return [cell for cell in run.cells if cell.id not in recorded]


def _tune(
    shards: Sequence[Shard],
    shared: Any,
    placement: Placement,
    progress: Progress,
    storage: str,
    name: str,
    *,
    max_failures: int,
) -> dict[str, str]:
    """Run the shards as trials; returns the error of each trial that died, by the ids of its cells."""
    from ray import tune

    from sweeps.trainables import ProgressCallback, ShardTrainable

    if not shards:
        return {}
    trainable = tune.with_parameters(ShardTrainable, shared=shared)
    tuner = tune.Tuner(
        tune.with_resources(trainable, lambda config: _resources(config["shard"], placement)),
        param_space={"shard": tune.grid_search(list(shards))},
        tune_config=tune.TuneConfig(
            reuse_actors=True, trial_dirname_creator=_short_name, trial_name_creator=_short_name
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=storage,
            verbose=0,
            callbacks=[ProgressCallback(progress)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=max_failures),
        ),
    )
    return {
        cell.id: str(result.error)
        for result in tuner.fit()
        if result.error is not None and result.config is not None
        for cell, _ in result.config["shard"].cells
    }


def _resources(shard: Shard, placement: Placement) -> Any:
    from ray import tune

    if shard.trains and placement.n_train_workers > 1:
        # The Train workers bring their own placement group; the trial that waits for them takes next to nothing.
        return tune.PlacementGroupFactory([{"CPU": 0, "node:__internal_head__": 0.001}])
    bundle = {"CPU": float(placement.cpus)}
    if shard.trains and placement.gpus:
        bundle["GPU"] = placement.gpus
    return tune.PlacementGroupFactory([bundle])


def _short_name(trial: Any) -> str:
    return f"shard-{trial.trial_id}"
