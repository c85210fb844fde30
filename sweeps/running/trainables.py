"""What Ray runs: a Tune trial computes a shard of cells, a cell with a network is a Ray Train run.

One class trainable takes shard after shard (`reuse_actors`), so a trial costs milliseconds.  On one device the
network is trained by a `TorchTrainer` in local mode, inside the trial's own process; on several, by a `TorchTrainer`
with as many workers and DDP.  Results are written here, by whoever computed them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import ray
from ray import train, tune
from ray.exceptions import RayActorError

from crowdml.datasets import CrowdData, ImageData
from crowdml.experiment.cell import Cell
from crowdml.experiment.result import CellResult, failed
from crowdml.experiment.run_cell import attempt_cell, run_cell
from crowdml.experiment.shared_work import SharedWork
from sweeps.estimates.placement import Placement
from sweeps.running.cell_worker import CellWorker
from sweeps.running.checkpoints import checkpoints_of
from sweeps.running.shards import Shard
from sweeps.store.provenance import Provenance
from sweeps.store.result_store import ResultsError, ResultStore

MAX_WORKER_FAILURES = 2
"""How often the Ray Train workers of a cell are started again.  Where one is lost, Ray often learns first that another
raised, for it no longer reaches the lost one; so an exception is the cell's own only if it comes again."""


@dataclass(frozen=True)
class Shared:
    """What all trials of a run share.

    Args:
        shards: references to the shards in Ray's object store, by their numbers; a process holds only its own.
        data: data set -> reference to it, likewise; a machine holds it once.
        location: the results folder.
        provenance: of the run.
        placement: what a trial gets; one Ray Train worker means local mode.
        storage: where Ray Train keeps its own state; every machine must see it.
    """

    shards: Sequence[Any]
    data: Mapping[str, Any]
    location: str
    provenance: Provenance
    placement: Placement
    storage: str


class ShardTrainable(tune.Trainable):
    """Computes the cells of the shard whose number is `config["shard"]`, a few a step."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Called once a process."""
        self._shared = shared
        store = ResultStore(shared.location)
        if not store.exists():
            raise RuntimeError(
                f"results folder {shared.location} is not visible on {ray.util.get_node_ip_address()}; "
                "on a cluster give shared storage: --results s3://..., gs://... or a network file system"
            )
        self._data: dict[str, ImageData | CrowdData] = {}
        self._worker = CellWorker(store, shared.provenance, self._load, partial(_compute, shared=shared, store=store))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next shard."""
        shard: Shard = ray.get(self._shared.shards[new_config["shard"]])
        self._todo = list(reversed(shard.cells))
        if shard.trains and self._shared.placement.n_train_workers == 1:
            import torch

            torch.set_num_threads(max(1, self._shared.placement.cpus))
        return True

    def step(self) -> dict[str, Any]:
        """Compute cells until it is time to write, write them, and tell how they ended.

        Where nothing can be written the trial ends and says so, for no other could do better.
        """
        try:
            ended = self._worker.work(self._todo)
        except ResultsError as error:
            return {"outcomes": [], "errors": {}, "unwritable": str(error), "done": True}
        return {"outcomes": ended.outcomes, "errors": ended.errors, "unwritable": None, "done": not self._todo}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the results folder is the only state."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see `save_checkpoint`."""

    def _load(self, name: str) -> ImageData | CrowdData:
        if name not in self._data:
            self._data = {name: ray.get(self._shared.data[name])}
        return self._data[name]


def _compute(
    cell: Cell,
    data: ImageData | CrowdData,
    work: SharedWork,
    checkpoints: Path | None,
    *,
    shared: Shared,
    store: ResultStore,
) -> CellResult:
    """A cell's result, from this process or from Ray Train workers."""
    if cell.network is None:
        return attempt_cell(cell, data, shared=work)
    gpus = shared.placement.gpus_of(cell)
    if shared.placement.n_train_workers > 1:
        return _compute_distributed(cell, gpus, shared, keeps=checkpoints is not None)
    # Brings torch with it, which cells that train nothing do without.
    from ray.train.torch import TorchTrainer

    results: list[CellResult] = []
    TorchTrainer(
        lambda: results.append(attempt_cell(cell, data, shared=work, checkpoints=checkpoints)),
        scaling_config=train.ScalingConfig(num_workers=0, use_gpu=gpus > 0),
    ).fit()
    return results[0]


def _compute_distributed(cell: Cell, gpus: float, shared: Shared, *, keeps: bool) -> CellResult:
    from ray.train.torch import TorchTrainer

    resources = {"CPU": float(shared.placement.cpus), **({"GPU": gpus} if gpus else {})}
    start = time.monotonic()
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={
            "cell": cell,
            "data": [shared.data[cell.dataset]],
            "location": shared.location if keeps else None,
        },
        scaling_config=train.ScalingConfig(
            num_workers=shared.placement.n_train_workers, use_gpu=gpus > 0, resources_per_worker=resources
        ),
        run_config=train.RunConfig(
            name=f"{cell.id}-{time.time_ns()}",
            storage_path=shared.storage,
            failure_config=train.FailureConfig(max_failures=MAX_WORKER_FAILURES),
        ),
    )
    try:
        return cast(CellResult, trainer.fit().return_value)
    except train.TrainingFailedError as error:
        if _lost_a_process(error):
            # As if this process had died with it: the trial ends, and a later one goes on from the checkpoints.
            raise
        return failed(cell, str(error), kind=type(error).__name__, seconds=time.monotonic() - start)


def _lost_a_process(error: train.TrainingFailedError) -> bool:
    """Whether a worker died, and did not raise; the others then raise too, for they no longer reach it."""
    failures = error.worker_failures.values() if isinstance(error, train.WorkerGroupError) else ()
    return any(isinstance(getattr(failure, "health_check_failure", failure), RayActorError) for failure in failures)


def _train_worker(config: dict[str, Any]) -> CellResult:
    """One of several Ray Train workers: all compute the cell, and the first one's result is the run's.

    An exception must end the run: were it caught here, the other workers would wait for this one for ever.
    """
    cell: Cell = config["cell"]
    with ExitStack() as stack:
        checkpoints = None
        if config["location"] is not None:
            checkpoints = stack.enter_context(checkpoints_of(ResultStore(config["location"]), cell.id))
        return run_cell(cell, ray.get(config["data"][0]), checkpoints=checkpoints)
