"""What Ray runs: a Tune trial computes a shard of cells; a cell with a network is a Ray Train run.

One trainable takes one shard after another (`reuse_actors`), so that a trial costs milliseconds.  On one device, a
`TorchTrainer` in local mode trains a network in the trial's process.  On several devices, a `TorchTrainer` with one
worker per device trains a network with DDP.  The trial's process writes the rows.
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
from sweeps.running.gained_cells import Before
from sweeps.running.shards import Shard
from sweeps.store.provenance import Provenance
from sweeps.store.result_store import ResultsError, ResultStore

MAX_WORKER_FAILURES = 2
"""How often the Ray Train workers of a cell are started again.  If a worker is lost, Ray often first receives the
exception of another worker, which no longer reaches the lost worker.  So only an exception that comes again is the
fault of the cell."""


@dataclass(frozen=True)
class Shared:
    """What all trials of a run share.

    Args:
        shards: reference to each shard in Ray's object store, so that a process loads only its own shards.
        data: name of data set -> reference in Ray's object store, so that a machine holds each data set once.
        location: the results folder.
        before: what the results folder held when the run began.
        provenance: of the run.
        placement: the resources of a trial; one Ray Train worker means local mode.
        storage: the folder where Ray Train keeps its own state; all machines must see this folder.
    """

    shards: Sequence[Any]
    data: Mapping[str, Any]
    location: str
    before: Before
    provenance: Provenance
    placement: Placement
    storage: str


class ShardTrainable(tune.Trainable):
    """Computes the cells of the shard whose number is `config["shard"]`, a few per step."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Prepare the process; Tune calls this once per process."""
        self._shared = shared
        store = ResultStore(shared.location, damaged="skip")
        if not store.exists():
            raise RuntimeError(
                f"results folder {shared.location} is not visible on {ray.util.get_node_ip_address()}; "
                "on a cluster give shared storage: --results s3://..., gs://... or a network file system"
            )
        self._data: dict[str, ImageData | CrowdData] = {}
        compute = partial(_compute, shared=shared)
        self._worker = CellWorker(store, shared.provenance, self._load, shared.before, compute)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next shard."""
        shard: Shard = ray.get(self._shared.shards[new_config["shard"]])
        self._worker.take(shard.cells)
        if shard.trains and self._shared.placement.n_train_workers == 1:
            import torch

            torch.set_num_threads(max(1, self._shared.placement.cpus))
        return True

    def step(self) -> dict[str, Any]:
        """Compute and write cells for about two seconds, and return how they ended.

        If results cannot be written, the trial ends and reports this, because no other trial could write them either.
        """
        try:
            outcomes = self._worker.work()
        except ResultsError as error:
            return {"outcomes": [], "unwritable": str(error), "done": True}
        return {"outcomes": outcomes, "unwritable": None, "done": self._worker.is_done}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing: the results folder is the only state."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing: see `save_checkpoint`."""

    def _load(self, name: str) -> ImageData | CrowdData:
        if name not in self._data:
            self._data = {name: ray.get(self._shared.data[name])}
        return self._data[name]


def _compute(
    cell: Cell, data: ImageData | CrowdData, work: SharedWork, checkpoints: Path | None, *, shared: Shared
) -> CellResult:
    """Compute a cell in this process, or with several Ray Train workers."""
    if cell.network is None:
        return attempt_cell(cell, data, shared=work)
    gpus = shared.placement.gpus_of(cell)
    if shared.placement.n_train_workers > 1:
        return _compute_distributed(cell, gpus, shared, keeps=checkpoints is not None)
    # Imports torch, which label-only cells do not need.
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
    config = {"cell": cell, "data": [shared.data[cell.dataset]], "location": shared.location if keeps else None}
    start = time.monotonic()
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config=config,
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
        failures = list(error.worker_failures.values()) if isinstance(error, train.WorkerGroupError) else []
        if any(isinstance(getattr(failure, "health_check_failure", failure), RayActorError) for failure in failures):
            # A worker died.  The other workers raise too, because they no longer reach the dead worker.  The trial ends
            # as if its own process had died, and a later trial continues from the checkpoints.
            raise
        # Ray Train wraps the exceptions of workers, and has no public attribute for the wrapped exception.
        raised = getattr(failures[0], "_base_exc", failures[0]) if failures else error
        return failed(cell, str(error), kind=type(raised).__name__, seconds=time.monotonic() - start)


def _train_worker(config: dict[str, Any]) -> CellResult:
    """Compute a cell as one of several Ray Train workers; the result of the first worker counts.

    An exception must leave this function and end the run, because otherwise the other workers would wait forever.
    """
    cell: Cell = config["cell"]
    with ExitStack() as stack:
        checkpoints = None
        if config["location"] is not None:
            checkpoints = stack.enter_context(checkpoints_of(ResultStore(config["location"]), cell.id))
        return run_cell(cell, ray.get(config["data"][0]), checkpoints=checkpoints)
