"""Run one training job in several Ray Train workers, which train one network together with PyTorch's DDP."""

from __future__ import annotations

from typing import Any, cast

from crowdml.learning.loop import TrainingDivergedError
from crowdml.training.job import TrainingJob
from crowdml.training.run_folder import FAILURE, RunFolder
from sweeps.cluster import connect as ray_cluster


class WorkersFailedError(ChildProcessError):
    """A worker process failed or was lost; the same command continues from the last checkpoint."""


def run_in_processes(
    job: TrainingJob, *, n_processes: int, cpus: int, address: str | None, max_failures: int
) -> dict[str, Any]:
    """Run a job in Ray Train workers and return what `TrainingJob.run` returns.

    Each worker gets one GPU if the cluster has GPUs.

    Args:
        job: the job; its run folder is claimed, and its files are visible on every machine.
        n_processes, cpus: number of workers, and CPUs of each worker.
        address: of the Ray cluster, see `sweeps.cluster.connect.join`; without a cluster, a local Ray is started.
        max_failures: how often the workers are started again after a worker is lost.

    Raises:
        ValueError: the cluster lacks CPUs or GPUs, or a worker found a fault in the job.
        WorkersFailedError: a worker failed for another reason; the run folder has the traceback.
    """
    job = job.with_absolute_paths()
    (job.out / FAILURE).unlink(missing_ok=True)
    with ray_cluster.join_or_start(address, data_bytes=_size(job)) as cluster:
        return _fit(cluster, job, n_processes, cpus, max_failures)


def _fit(
    cluster: ray_cluster.Cluster, job: TrainingJob, n_processes: int, cpus: int, max_failures: int
) -> dict[str, Any]:
    import ray
    from ray import train
    from ray.train.torch import TorchTrainer

    from sweeps.cluster.fit import fit_workers

    use_gpu = cluster.gpus > 0 and job.device != "cpu"
    for kind, wanted, there in (("CPUs", cpus * n_processes, cluster.cpus), ("GPUs", n_processes, cluster.gpus)):
        if wanted > there and (kind == "CPUs" or use_gpu):
            raise ValueError(
                f"{n_processes} workers need {wanted:g} {kind} and the cluster has {there:g}; lower --workers or --cpus"
            )
    resources = {"CPU": float(cpus), **({"GPU": 1.0} if use_gpu else {})}
    # A run goes on from the checkpoints of the training.  Ray's own state would only confuse the next run.
    with RunFolder(job.out).ray_state() as state:
        trainer = TorchTrainer(
            _work,
            train_loop_config={"job": [ray.put(job)]},
            scaling_config=train.ScalingConfig(
                num_workers=n_processes, use_gpu=use_gpu, resources_per_worker=resources
            ),
            run_config=train.RunConfig(
                name="training", storage_path=str(state), failure_config=train.FailureConfig(max_failures=max_failures)
            ),
        )
        try:
            return cast(dict[str, Any], fit_workers(trainer).return_value)
        except train.TrainingFailedError as error:
            raise _reason(error, job) from error


def _work(config: dict[str, Any]) -> dict[str, Any]:
    import ray

    return cast(TrainingJob, ray.get(config["job"][0])).run()


def _reason(error: Exception, job: TrainingJob) -> Exception:
    """Return the fault that a worker found in the job, or else a WorkersFailedError."""
    causes = [getattr(failure, "_base_exc", failure) for failure in getattr(error, "worker_failures", {}).values()]
    for cause in causes:
        if isinstance(cause, (ValueError, FileNotFoundError, TrainingDivergedError)):
            return cause
    (job.out / FAILURE).write_text(f"{error}\n")
    last = str(causes[0] if causes else error).strip().splitlines()[-1:]
    return WorkersFailedError(f"a worker failed: {' '.join(last)}; see {job.out / FAILURE}; the same command goes on")


def _size(job: TrainingJob) -> int:
    """Return about how many bytes the job takes in the object store."""
    parts = [job.items, *([job.test.items] if job.test else [])]
    n_bytes = 24 * job.matched.crowd.n_annotations
    for part in parts:
        n_bytes += 2 * part.ids.nbytes + 200 * len(part.paths) + (0 if part.values is None else part.values.nbytes)
    return n_bytes
