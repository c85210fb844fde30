"""Aggregate a crowd that is larger than one machine: EM over shards of items on Ray.

Every shard holds its items' annotations and posterior in a process of its own.  In an iteration each makes its E-step,
the workers' expected counts are added up along a tree of tasks, the M-step is made where this function was called, and
the new tables go to all shards through the object store.  The answer is that of one machine.
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
from crowdml.aggregation.inference.em_tables import Tables
from crowdml.aggregation.inference.kernels import Expectation
from crowdml.aggregation.majority import MajorityVote
from crowdml.aggregation.spectral_em import SpectralEm
from crowdml.files import Columns, check_writable, write_tables
from crowdml.labels import Repeats
from crowdml.support.names import UnknownNameError
from sweeps.aggregation import layout
from sweeps.aggregation.iteration_progress import IterationProgress
from sweeps.aggregation.layout import RowGroup, Survey
from sweeps.aggregation.pool import Pool, run_tasks
from sweeps.aggregation.shard_worker import LogTables, Plan
from sweeps.cluster import connect as ray_cluster
from sweeps.store.locations import LocationError, is_empty, is_local, join, locate, parquet_files, write_parquet

STORE_BYTES = 500_000_000
"""Object store of a cluster of our own: room for the tables, what is more goes to disk."""
SHARD_ROWS = 1_000_000
"""Annotations below which another shard by default costs more than it saves."""


@dataclass(frozen=True, eq=False)
class ShardedResult:
    """What is known in the end, but for the items, which the shards have written.

    Attributes:
        n_items, n_workers, n_classes, n_annotations: of the crowd.
        n_shards: processes that shared it.
        dealt_out: whether the annotations had to be sorted into shards first.
        class_names: (n_classes,), in order.
        class_prior: (n_classes,).
        workers: one row a worker, by name: `worker, n_labels, quality, quality_se`, and for Bayesian methods
            `quality_low, quality_high`, the 95 % interval.
        confusion: (n_workers, n_classes, n_classes) in the order of `workers`.
        n_iter, converged, objective: as in Aggregation.
        seconds: from start to end, Ray's start included.
    """

    n_items: int
    n_workers: int
    n_classes: int
    n_annotations: int
    n_shards: int
    dealt_out: bool
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
    """Aggregate the annotations of Parquet files.

    Args:
        paths: files or folders of them, local or s3://..., gs://...; on a cluster, where every node sees them.
        method: a name of `sharded_methods()`, or an alias.
        out: a new folder for the consensus, one Parquet file a shard: the columns `task` and `label` under their
            names, `p_<class>`, and `doubt`.
        workers_out: a file for the table of workers (.parquet, .csv, .jsonl; as a URI .parquet).
        columns: names of the columns.
        class_names: the classes in the order wanted; by default those that occur, sorted.
        repeats: as in CrowdLabels.
        options: hyper-parameters of the method.
        n_shards: by default one a CPU, but none of less than SHARD_ROWS annotations.
        address: of the Ray cluster, see `cluster.join`; without one, a Ray of this machine is started.
        scratch: a folder that every node sees, for annotations that have to be sorted into shards; by default a
            folder in `out`, or a temporary one on a Ray of this machine.
        console: for the progress line; by default standard error.

    Raises:
        UnknownNameError: no such method, one that cannot be sharded, or no such option.
        ValueError: a hyper-parameter out of range, malformed annotations (the message names the file), a label that
            is not in `class_names`, a place that cannot be read or written, or no cluster at the address.
    """
    start = time.monotonic()
    ties, em = _configure(method, options)
    columns = columns or Columns()
    if n_shards is not None and n_shards < 1:
        raise ValueError(f"n_shards must be at least 1, got {n_shards}")
    _check_places(out, workers_out)
    groups = layout.read_layout(parquet_files([paths] if isinstance(paths, (str, Path)) else paths), columns)
    n_annotations = sum(group.n_rows for group in groups)
    progress = IterationProgress(console or Console(stderr=True), em.max_iter if em else 1, em.tol if em else 0.0)
    with progress, ExitStack() as stack:
        cluster = stack.enter_context(ray_cluster.join(address))
        if cluster is None:
            cluster = stack.enter_context(ray_cluster.start_local(data_bytes=STORE_BYTES))
        n_shards = n_shards or max(1, min(int(cluster.cpus), math.ceil(n_annotations / SHARD_ROWS)))
        progress.phase(f"reading {n_annotations} annotations")
        shards = layout.deal_as_they_lie(groups, n_shards)
        dealt_out = shards is None
        if shards is None:
            folder = stack.enter_context(_scratch_folder(scratch, out, own=cluster.own))
            survey, shards = _deal_out(groups, columns, n_shards, folder)
        else:
            runs = layout.chunks(groups)
            survey = layout.merge(run_tasks(layout.survey, [(run, columns) for run in runs]))
        classes = _classes(survey.labels, class_names)
        plan = Plan(shards, columns, survey.workers, classes, repeats, ties, em)
        pool = stack.enter_context(Pool(plan, cpus=cluster.cpus))
        first = pool.first()
        fit = None if em is None else _run_em(pool, em, first, progress)
        workers = _vote(pool, first) if em is None or fit is None else em.workers(fit.tables, *fit.sums[:2])
        if out is not None:
            progress.phase("writing the consensus")
            pool.write(str(out))
        n_items = pool.n_items()
        progress.phase(f"{n_items} items from {n_annotations} annotations done")
    table = _workers_table(survey.workers, first.counts, workers)
    if workers_out is not None:
        _write_workers(table, workers_out)
    return ShardedResult(
        n_items=n_items,
        n_workers=len(survey.workers),
        n_classes=len(classes),
        n_annotations=n_annotations,
        n_shards=len(shards),
        dealt_out=dealt_out,
        class_names=classes.to_numpy(zero_copy_only=False),
        class_prior=workers.class_prior,
        workers=table,
        confusion=workers.confusion,
        n_iter=len(fit.objective) if fit else 1,
        converged=fit.converged if fit else True,
        objective=fit.objective if fit else (),
        seconds=time.monotonic() - start,
    )


def sharded_methods() -> list[str]:
    """The registry's names of the methods that `aggregate_sharded` runs."""
    targets = {f"{part.__module__}:{part.__qualname__}" for part in (MajorityVote, DawidSkene, Ibcc)}
    return [name for name, entry in methods.REGISTRY.items() if entry.target in targets]


def _configure(method: str, options: Mapping[str, Any] | None) -> tuple[TieRule, EmMethod | None]:
    """The tie rule and the steps of a method; no steps for the majority vote."""
    source = methods.resolve(method, options, labels_only=True).source
    # The spectral start needs all items at once.
    em = source if isinstance(source, (DawidSkene, Ibcc)) and not isinstance(source, SpectralEm) else None
    if em is None and not isinstance(source, MajorityVote):
        raise UnknownNameError(f"method {method} cannot be sharded; those that can: {', '.join(sharded_methods())}")
    device = getattr(source, "device", "cpu")
    if device != "cpu":
        raise ValueError(f'device must be "cpu" for shards, got {device!r}')
    return source, em


def _check_places(out: str | Path | None, workers_out: str | Path | None) -> None:
    """Complain before the work about what could not be written after it."""
    if out is not None and not is_empty(out):
        raise LocationError(f"{out} is not empty; give a new folder for the consensus")
    if workers_out is not None:
        if is_local(workers_out):
            check_writable(workers_out)
        elif not str(workers_out).endswith(".parquet"):
            raise LocationError(f"{workers_out}: the ending must be .parquet")


@contextmanager
def _scratch_folder(scratch: str | Path | None, out: str | Path | None, *, own: bool) -> Iterator[str]:
    """A new folder that every node sees; deleted in the end."""
    if scratch is None and own:
        with tempfile.TemporaryDirectory(prefix="crowdml-shards-") as folder:
            yield folder
        return
    parent = scratch or out
    if parent is None:
        raise LocationError(
            "the items of the files overlap, so their annotations have to be sorted into shards, which needs a folder "
            "that every node sees; pass scratch"
        )
    folder = join(parent, f".shards-{uuid.uuid4().hex[:12]}")
    filesystem, path = locate(folder)
    filesystem.create_dir(path, recursive=True)
    try:
        yield folder
    finally:
        filesystem.delete_dir(path)


def _deal_out(
    groups: list[RowGroup], columns: Columns, n_shards: int, folder: str
) -> tuple[Survey, list[list[RowGroup]]]:
    """Sort all annotations into shards; the survey, and the row groups of each shard."""
    runs = layout.chunks(groups)
    arguments = [(run, columns, n_shards, folder, number) for number, run in enumerate(runs)]
    surveys, dealt = zip(*run_tasks(layout.deal_out, arguments), strict=True)
    shards = [[group for group in of_shard if group.n_rows] for of_shard in zip(*dealt, strict=True)]
    return layout.merge(surveys), [shard for shard in shards if shard]


def _classes(labels: pa.Array, class_names: Sequence[Any] | None) -> pa.Array:
    if class_names is None:
        return labels
    unknown = [name for name in labels.to_pylist() if name not in class_names]
    if unknown:
        raise ValueError(f"labels {unknown[:5]} are not among class_names {list(class_names)}")
    return pa.array(list(class_names), labels.type)


def _run_em(pool: Pool, em: EmMethod, first: Expectation, progress: IterationProgress) -> EmResult:
    def e_step(tables: Tables) -> Expectation:
        sums = pool.step(LogTables(tables.log_confusion, tables.log_prior))
        progress.add(sums.moved)
        return sums

    return iterate(em, first.counts, first.class_counts, e_step)


def _vote(pool: Pool, first: Expectation) -> WorkerEstimates:
    """What MajorityVote says of the workers."""
    right = np.trace(pool.votes().counts, axis1=1, axis2=2)
    class_prior = first.class_counts / first.class_counts.sum()
    quality = right / first.counts.sum(axis=(1, 2))
    return WorkerEstimates(
        normalise_rows(first.counts + SMOOTHING), class_prior, quality, quality_error(first.counts, class_prior), None
    )


def _workers_table(names: pa.Array, counts: NDArray[np.float64], workers: WorkerEstimates) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "worker": names.to_numpy(zero_copy_only=False),
            "n_labels": np.rint(counts.sum(axis=(1, 2))).astype(int),
            "quality": workers.quality,
            "quality_se": workers.quality_se,
        }
    )
    if workers.quality_interval is not None:
        table["quality_low"], table["quality_high"] = workers.quality_interval.T
    return table


def _write_workers(table: pd.DataFrame, location: str | Path) -> None:
    if is_local(location):
        write_tables({str(location): table})
    else:
        write_parquet(pa.Table.from_pandas(table, preserve_index=False), location)
