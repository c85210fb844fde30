"""Aggregate a crowd that is larger than the memory of one machine: EM over shards of items on Ray.

Each shard is a process that holds the annotations and the posterior of its items.  In each iteration, all shards carry
out their E-step, a tree of tasks adds up the workers' expected counts, the driver carries out the M-step, and the
object store passes the new tables to all shards.  The result equals the result on one machine.
"""

from __future__ import annotations

import math
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console

from crowdml import methods
from crowdml.aggregation.aggregator import SMOOTHING, TieRule, quality_error
from crowdml.aggregation.dawid_skene import DawidSkene
from crowdml.aggregation.ibcc import Ibcc
from crowdml.aggregation.inference.confusion import normalise_rows
from crowdml.aggregation.inference.em_loop import EmMethod, EmResult, WorkerEstimates, iterate
from crowdml.aggregation.inference.kernels import Expectation, Tables
from crowdml.aggregation.majority import MajorityVote
from crowdml.aggregation.spectral_em import SpectralEm
from crowdml.files import Columns, check_writable, write_tables
from crowdml.labels import Repeats
from crowdml.support.memory import check_memory
from crowdml.support.names import UnknownNameError
from sweeps.aggregation import row_groups
from sweeps.aggregation.crowd_shard import LogTables, ShardedCrowd
from sweeps.aggregation.iteration_progress import IterationProgress
from sweeps.aggregation.row_groups import DistinctNames, RowGroup
from sweeps.aggregation.shard_pool import ShardPool, run_tasks
from sweeps.cluster import connect as ray_cluster
from sweeps.store.locations import LocationError, is_empty, is_local, join, locate, parquet_files, write_parquet

STORE_BYTES = 500_000_000
"""Size of a local Ray's object store, which holds the tables.  Ray writes larger data to disk."""
TABLES = 12
"""Arrays (n_workers, n_classes, n_classes) that the driver holds at a time."""
SHARD_ROWS = 1_000_000
"""Default minimum of annotations per shard.  A smaller shard costs more time than it saves."""


@dataclass(frozen=True, eq=False)
class ShardedResult:
    """The result, except the results of the items, which the shards write to files.

    Attributes:
        n_items, n_workers, n_classes, n_annotations: of the crowd.
        split_by_item: whether the rows of the input were sorted into shards first.
        class_names: (n_classes,), in order.
        class_prior: (n_classes,) class probabilities.
        workers: one row per worker, sorted by name: `worker, n_labels, quality, quality_se`, and for Bayesian methods
            `quality_low, quality_high`, the 95 % interval.
        confusion: (n_workers, n_classes, n_classes) in the order of `workers`.
        n_iter, converged, objective: see Aggregation.
        seconds: wall seconds, including the start of Ray.
    """

    n_items: int
    n_workers: int
    n_classes: int
    n_annotations: int
    n_shards: int
    split_by_item: bool
    class_names: NDArray[Any]
    class_prior: NDArray[np.float64]
    workers: pd.DataFrame
    confusion: NDArray[np.float64]
    n_iter: int
    converged: bool
    objective: tuple[float, ...]
    seconds: float


def aggregate_sharded(
    paths: str | Path | Sequence[str | Path],
    method: str = "em",
    *,
    out: str | Path | None = None,
    workers_out: str | Path | None = None,
    columns: Columns | None = None,
    class_names: Sequence[Any] | None = None,
    repeats: Repeats = "error",
    options: Mapping[str, Any] | None = None,
    n_shards: int | None = None,
    address: str | None = None,
    scratch: str | Path | None = None,
    console: Console | None = None,
) -> ShardedResult:
    """Aggregate the annotations of Parquet files on Ray.

    Args:
        paths: Parquet files or folders with them, local or s3://..., gs://...; every node must be able to read them.
        method: a name of `sharded_methods()`, or an alias.
        out: a new folder for the consensus, with one Parquet file per shard.  Its columns are the input's columns of
            items and labels, `p_<class>`, and `doubt`.
        workers_out: a file for the table of workers (.parquet, .csv, .jsonl; as a URI .parquet).
        class_names: the classes in the wanted order; by default the classes of the annotations, sorted.
        repeats: see CrowdLabels.
        options: hyper-parameters of the method.
        n_shards: by default one shard per CPU, with at least SHARD_ROWS annotations each.
        address: of the Ray cluster, see `sweeps.cluster.connect.join`; without a cluster, a local Ray is started.
        scratch: a folder that every node can write, for annotations that must be sorted into shards; by default a
            folder in `out`, or a temporary folder on a local Ray.
        console: shows the progress line; by default standard error.

    Raises:
        UnknownNameError: the method or an option does not exist, or the method cannot be sharded.
        ValueError: a hyper-parameter is out of range, annotations are malformed (the message names the file), a label
            is not in `class_names`, a location cannot be read or written, or no cluster answers at the address.
    """
    start = time.monotonic()
    ties, em = _configure(method, options)
    columns = columns or Columns()
    if n_shards is not None and n_shards < 1:
        raise ValueError(f"n_shards must be at least 1, got {n_shards}")
    _check_places(out, workers_out)
    groups = row_groups.list_row_groups(parquet_files([paths] if isinstance(paths, (str, Path)) else paths), columns)
    n_annotations = sum(group.n_rows for group in groups)
    progress = IterationProgress(console or Console(stderr=True), em.max_iter if em else 1, em.tol if em else 0.0)
    with progress, ExitStack() as stack:
        cluster = stack.enter_context(ray_cluster.join_or_start(address, data_bytes=STORE_BYTES))
        n_shards = n_shards or max(1, min(int(cluster.cpus), math.ceil(n_annotations / SHARD_ROWS)))
        progress.phase(f"reading {n_annotations} annotations")
        shards = row_groups.assign_whole(groups, n_shards)
        split = shards is None
        if shards is None:
            folder = stack.enter_context(_scratch_folder(scratch, out, local_ray=cluster.own))
            names, shards = _split_by_item(groups, columns, n_shards, folder)
        else:
            chunks = [(chunk, columns) for chunk in row_groups.chunks(groups)]
            names = row_groups.merge_names(run_tasks(row_groups.distinct_names, chunks))
        classes = _classes(names.labels, class_names)
        check_tables(len(names.workers), len(classes))
        crowd = ShardedCrowd(shards, columns, names.workers, classes, repeats, ties, em)
        pool = stack.enter_context(ShardPool(crowd, cpus=cluster.cpus))
        first = pool.first()
        # If no item has two labels, the crowd keeps its labels; see `crowdml.aggregation.aggregator.checked`.
        learns = em is not None and pool.most_labels() > 1
        fit = _run_em(pool, em, first, progress) if em is not None and learns else None
        workers = _vote(pool, first) if em is None or fit is None else em.workers(fit.tables, *fit.sums[:2])
        if out is not None:
            progress.phase("writing the consensus")
            pool.write(str(out))
        n_items = pool.n_items()
        progress.phase(f"{n_items} items from {n_annotations} annotations done")
    table = _workers_table(names.workers, first.counts, workers)
    if workers_out is not None and is_local(workers_out):
        write_tables({str(workers_out): table})
    elif workers_out is not None:
        write_parquet(pa.Table.from_pandas(table, preserve_index=False), workers_out)
    return ShardedResult(
        n_items=n_items, n_workers=len(names.workers), n_classes=len(classes), n_annotations=n_annotations,
        n_shards=len(shards), split_by_item=split,
        class_names=classes.to_numpy(zero_copy_only=False), class_prior=workers.class_prior,
        workers=table, confusion=workers.confusion,
        n_iter=len(fit.objective) if fit else int(em is None), converged=fit.converged if fit else True,
        objective=fit.objective if fit else (), seconds=time.monotonic() - start,
    )  # fmt: skip


def check_tables(n_workers: int, n_classes: int) -> None:
    """Raise TooLargeError if the driver has no memory for the sums and tables of all workers."""
    what = f"the confusion of {n_workers:,} workers x {n_classes:,} x {n_classes:,} classes"
    way_out = "use method mv without --engine ray, or join rare classes"
    check_memory(8 * TABLES * n_workers * n_classes**2, what, way_out)


def sharded_methods() -> list[str]:
    """Return the names of the methods that `aggregate_sharded` supports."""
    targets = {f"{part.__module__}:{part.__qualname__}" for part in (MajorityVote, DawidSkene, Ibcc)}
    return [name for name, entry in methods.REGISTRY.items() if entry.target in targets]


def _configure(method: str, options: Mapping[str, Any] | None) -> tuple[TieRule, EmMethod | None]:
    """Return the tie rule of a method and its EM steps; the majority vote has no steps."""
    source = methods.resolve(method, options, labels_only=True).source
    # SpectralEm is excluded because its start needs all items at once.
    em = source if isinstance(source, (DawidSkene, Ibcc)) and not isinstance(source, SpectralEm) else None
    if em is None and not isinstance(source, MajorityVote):
        raise UnknownNameError(f"method {method} cannot be sharded; use one of {', '.join(sharded_methods())}")
    device = getattr(source, "device", "cpu")
    if device != "cpu":
        raise ValueError(f'device must be "cpu" on Ray, got {device!r}')
    return source, em


def _check_places(out: str | Path | None, workers_out: str | Path | None) -> None:
    """Raise an error before the work starts if the results cannot be written."""
    if out is not None and not is_empty(out):
        raise LocationError(f"{out} is not empty; give a new folder for the consensus")
    if workers_out is not None and is_local(workers_out):
        check_writable(workers_out)
    elif workers_out is not None and not str(workers_out).endswith(".parquet"):
        raise LocationError(f"{workers_out}: the ending must be .parquet")


@contextmanager
def _scratch_folder(scratch: str | Path | None, out: str | Path | None, *, local_ray: bool) -> Iterator[str]:
    """Yield a new folder that every node can write, and delete it at the end."""
    if scratch is None and local_ray:
        with tempfile.TemporaryDirectory(prefix="crowdml-shards-") as folder:
            yield folder
        return
    parent = scratch or out
    if parent is None:
        raise LocationError(
            "row groups of the files share items, so the annotations must be sorted into shards; pass in `scratch` a "
            "folder that every node can write"
        )
    folder = join(parent, f".shards-{uuid.uuid4().hex[:12]}")
    filesystem, path = locate(folder)
    filesystem.create_dir(path, recursive=True)
    try:
        yield folder
    finally:
        filesystem.delete_dir(path)


def _split_by_item(
    groups: list[RowGroup], columns: Columns, n_shards: int, folder: str
) -> tuple[DistinctNames, list[list[RowGroup]]]:
    """Sort all annotations into shards; return the distinct names, and the row groups of each shard that has rows."""
    arguments = [(chunk, columns, n_shards, folder, number) for number, chunk in enumerate(row_groups.chunks(groups))]
    names, written = zip(*run_tasks(row_groups.split_by_item, arguments), strict=True)
    shards = [[group for group in of_shard if group.n_rows] for of_shard in zip(*written, strict=True)]
    return row_groups.merge_names(names), [shard for shard in shards if shard]


def _classes(labels: pa.Array, class_names: Sequence[Any] | None) -> pa.Array:
    if class_names is None:
        return labels
    unknown = [name for name in labels.to_pylist() if name not in class_names]
    if unknown:
        raise ValueError(f"labels {unknown[:5]} are not among class_names {list(class_names)}")
    return pa.array(list(class_names), labels.type)


def _run_em(pool: ShardPool, em: EmMethod, first: Expectation, progress: IterationProgress) -> EmResult:
    def e_step(tables: Tables) -> Expectation:
        sums = pool.step(LogTables(tables.log_confusion, tables.log_prior))
        progress.add(sums.moved)
        return sums

    return iterate(em, first.counts, first.class_counts, e_step)


def _vote(pool: ShardPool, first: Expectation) -> WorkerEstimates:
    """Return the conclusions of MajorityVote about the workers."""
    votes = pool.votes().counts
    with np.errstate(invalid="ignore"):
        quality = np.trace(votes, axis1=1, axis2=2) / votes.sum(axis=(1, 2))
    confusion = normalise_rows(first.counts + SMOOTHING)
    class_prior = first.class_counts / first.class_counts.sum()
    right = np.diagonal(first.counts, axis1=1, axis2=2)
    error = quality_error(right, first.counts.sum(axis=2), class_prior)
    return WorkerEstimates(confusion, class_prior, quality, error, None)


def _workers_table(names: pa.Array, counts: NDArray[np.float64], workers: WorkerEstimates) -> pd.DataFrame:
    n_labels = np.rint(counts.sum(axis=(1, 2))).astype(int)
    columns = {"worker": names.to_numpy(zero_copy_only=False), "n_labels": n_labels}
    table = pd.DataFrame({**columns, "quality": workers.quality, "quality_se": workers.quality_se})
    if workers.quality_interval is not None:
        table["quality_low"], table["quality_high"] = workers.quality_interval.T
    return table
