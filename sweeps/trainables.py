"""What Ray runs: a Tune trial computes a shard of cells, a cell with a network is a Ray Train run.

One class trainable takes shard after shard (`reuse_actors`), so a trial costs milliseconds.  On one device the
network is trained by a `TorchTrainer` in local mode, inside the trial's own process; on several, by a `TorchTrainer`
with as many workers and DDP.  Results are written here, by whoever computed them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import ray
from ray import train, tune
from ray.train.torch import TorchTrainer

from crowdml.datasets import CrowdData, ImageData
from crowdml.experiment import Cell, CellResult, attempt_cell, failed, run_cell
from sweeps.progress import Progress
from sweeps.provenance import Provenance
from sweeps.shards import Shard
from sweeps.store import ResultStore

# Results are written and reported about this often, and at the latest after the cell that is running.
FLUSH_SECONDS = 2.0


@dataclass(frozen=True)
class Shared:
    """What all trials of a run share.

    Args:
        data: data set -> reference to it in Ray's object store, which keeps it once a machine.
        location: the results folder.
        provenance: of the run.
        cpus, gpus: of one Ray Train worker.
        n_train_workers: Ray Train workers a training cell; one means local mode.
        storage: where Ray Train keeps its own state; every machine must see it.
    """

    data: Mapping[str, Any]
    location: str
    provenance: Provenance
    cpus: int
    gpus: float
    n_train_workers: int
    storage: str


class ShardTrainable(tune.Trainable):
    """Computes the cells of `config["shard"]`, a few a step."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Called once a process."""
        self._shared = shared
        self._store = ResultStore(shared.location)
        if not self._store.exists():
            raise RuntimeError(
                f"results folder {shared.location} is not visible on {ray.util.get_node_ip_address()}; "
                "on a cluster give shared storage: --results s3://..., gs://... or a network file system"
            )
        self._data: dict[str, ImageData | CrowdData] = {}
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next shard."""
        shard: Shard = new_config["shard"]
        self._todo = list(reversed(shard.cells))
        if shard.trains and self._shared.n_train_workers == 1:
            import torch

            torch.set_num_threads(max(1, self._shared.cpus))
        return True

    def step(self) -> dict[str, Any]:
        """Compute cells until it is time to write, write them, and count them."""
        start = time.monotonic()
        results: list[CellResult] = []
        estimated = 0.0
        while self._todo and time.monotonic() - start < FLUSH_SECONDS:
            cell, seconds = self._todo.pop()
            results.append(self._compute(cell))
            estimated += seconds
        self._store.write(results, self._shared.provenance)
        n_ok = sum(result.status == "ok" for result in results)
        return {
            "n_ok": n_ok,
            "n_failed": len(results) - n_ok,
            "estimated": estimated,
            "actual": time.monotonic() - start,
            "done": not self._todo,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the results folder is the only state."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see `save_checkpoint`."""

    def _compute(self, cell: Cell) -> CellResult:
        if cell.dataset not in self._data:
            self._data = {cell.dataset: ray.get(self._shared.data[cell.dataset])}
        data = self._data[cell.dataset]
        if cell.network is None:
            return attempt_cell(cell, data)
        if self._shared.n_train_workers > 1:
            return self._compute_distributed(cell)
        results: list[CellResult] = []
        TorchTrainer(
            lambda: results.append(attempt_cell(cell, data)),
            scaling_config=train.ScalingConfig(num_workers=0, use_gpu=self._shared.gpus > 0),
        ).fit()
        return results[0]

    def _compute_distributed(self, cell: Cell) -> CellResult:
        shared = self._shared
        resources = {"CPU": float(shared.cpus), **({"GPU": shared.gpus} if shared.gpus else {})}
        start = time.monotonic()
        trainer = TorchTrainer(
            _train_worker,
            train_loop_config={"cell": cell, "data": [shared.data[cell.dataset]]},
            scaling_config=train.ScalingConfig(
                num_workers=shared.n_train_workers, use_gpu=shared.gpus > 0, resources_per_worker=resources
            ),
            run_config=train.RunConfig(name=f"{cell.id}-{time.time_ns()}", storage_path=shared.storage),
        )
        try:
            return cast(CellResult, trainer.fit().return_value)
        except train.TrainingFailedError as error:
            return failed(cell, str(error), time.monotonic() - start)


def _train_worker(config: dict[str, Any]) -> CellResult:
    """One of several Ray Train workers: all compute the cell, and the first one's result is the run's.

    An exception must end the run: were it caught here, the other workers would wait for this one for ever.
    """
    return run_cell(config["cell"], ray.get(config["data"][0]))


class ProgressCallback(tune.Callback):
    """Feeds Tune's events, which arrive in the driver, to the progress line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks, but a run is never restored from Tune's state."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune did something: count the trials that run now."""
        self._progress.set_running(sum(trial.status == "RUNNING" for trial in trials))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Some of a shard's cells are done and written."""
        self._progress.add(**{name: result[name] for name in ("n_ok", "n_failed", "estimated", "actual")})
