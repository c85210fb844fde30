"""CrowdShard: some items of a crowd, all their annotations, and the E-step on these items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crowdml.aggregation.aggregator import ABSTAINED, TieRule, break_ties, doubt_of, vote_shares
from crowdml.aggregation.inference.confusion import Posterior, one_hot
from crowdml.aggregation.inference.em_loop import EmMethod
from crowdml.aggregation.inference.kernels import Expectation, expectation, expected_counts
from crowdml.files import Columns
from crowdml.labels import CrowdLabels, Repeats
from crowdml.support.value_text import text_of
from sweeps.aggregation.row_groups import RowGroup, read
from sweeps.store.locations import join, write_parquet


@dataclass(frozen=True, eq=False)
class ShardedCrowd:
    """The crowd and the method.  Every shard gets this object.

    Args:
        shards: the row groups of each shard.
        workers, classes: names of all workers and classes of the crowd, in order.
        repeats: see CrowdLabels.
        ties: chooses among equally probable classes.
        em: the method; None is the majority vote.
    """

    shards: Sequence[Sequence[RowGroup]]
    columns: Columns
    workers: pa.Array
    classes: pa.Array
    repeats: Repeats
    ties: TieRule
    em: EmMethod | None


class LogTables(NamedTuple):
    """The input of an E-step: arrays of shape (n_workers, n_classes, n_classes) and (n_classes,)."""

    log_confusion: NDArray[np.float64]
    log_prior: NDArray[np.float64]


class CrowdShard:
    """The annotations and the posterior of the items of one shard, whose number counts from 0.

    The last tables determine the posterior.  So a process that replaces a dead process reads the annotations again,
    computes the dead process's posterior from the tables, and continues.  A repeated call returns the same answer.
    """

    def __init__(self, crowd: ShardedCrowd, number: int) -> None:
        self._whole, self._number = crowd, number
        self._posterior: Posterior = np.empty((0, 0))
        self._iteration = -1  # the iteration of `_posterior`; 0 is the first posterior

    def first(self) -> Expectation:
        """Return the sums under the first posterior."""
        self._restore(0, None)
        return self._sums(self._posterior)

    def step(self, iteration: int, tables: LogTables, before: LogTables | None) -> Expectation:
        """Carry out the E-step of an iteration (from 1) with its tables, and return the sums.

        `before` are the tables of the previous iteration; None in the first iteration.
        """
        self._restore(iteration - 1, before)
        sums = self._e_step(tables)
        self._iteration = iteration
        return sums

    def votes(self) -> Expectation:
        """Return the sums if each item's majority label has probability 1.  An item without a label adds nothing."""
        self._restore(0, None)
        labels = self._labels()
        certain = one_hot(labels, self._crowd.n_classes)
        certain[labels == ABSTAINED] = 0
        return self._sums(certain)

    def most_labels(self) -> int:
        """Return the largest number of labels of an item."""
        return int(self._crowd.labels_per_item.max())

    def n_items(self) -> int:
        """Return the number of items."""
        return self._crowd.n_items

    def write(self, iteration: int, tables: LogTables | None, folder: str) -> None:
        """Write one row per item: its name, its label, the posterior `p_<class>`, and the doubt (see Aggregation).

        The posterior is the posterior after the last iteration.  The tables are the tables of this iteration, or None
        if there was no iteration.  Each shard writes one file into the folder.
        """
        self._restore(iteration, tables)
        columns, classes = self._whole.columns, self._whole.classes
        labels = self._labels()
        chosen: Any = pa.array(labels, mask=labels == ABSTAINED)
        names = {columns.task: self._loaded[1], columns.label: classes.take(chosen)}
        chances = {f"p_{text_of(name)}": pa.array(self._posterior[:, c]) for c, name in enumerate(classes.to_pylist())}
        table = pa.table({**names, **chances, "doubt": pa.array(doubt_of(self._posterior))})
        write_parquet(table, join(folder, f"part-{self._number:05}.parquet"))

    @property
    def _crowd(self) -> CrowdLabels:
        return self._loaded[0]

    @cached_property
    def _loaded(self) -> tuple[CrowdLabels, pa.Array]:
        # Not in the constructor: an error in the data must reach the caller and not kill the actor.
        return read_shard(self._whole, self._whole.shards[self._number])

    def _restore(self, iteration: int, tables: LogTables | None) -> None:
        """Compute the posterior of an iteration unless it is the current posterior."""
        if self._iteration == iteration:
            return
        crowd, em = self._crowd, self._whole.em
        if tables is None:
            self._posterior = vote_shares(crowd) if em is None else em.start(crowd)
        else:
            self._posterior = np.empty((crowd.n_items, crowd.n_classes))
            self._e_step(tables)
        self._iteration = iteration

    def _e_step(self, tables: LogTables) -> Expectation:
        hard = self._whole.em is not None and self._whole.em.hard
        return expectation(self._crowd, tables.log_confusion, tables.log_prior, self._posterior, hard=hard)

    def _sums(self, posterior: Posterior) -> Expectation:
        return Expectation(expected_counts(self._crowd, posterior), posterior.sum(axis=0), 0.0, np.inf)

    def _labels(self) -> NDArray[np.int64]:
        ties = self._whole.ties
        return break_ties(self._posterior, self._crowd, ties.ties, ties.seed + self._number)  # one seed per shard


def read_shard(crowd: ShardedCrowd, groups: Sequence[RowGroup]) -> tuple[CrowdLabels, pa.Array]:
    """Read the annotations of some row groups; return them and the names of their items.

    Workers and classes keep their numbers in the whole crowd.

    Raises:
        ValueError: an annotation is repeated and `crowd.repeats` forbids it.
    """
    items: list[pa.Array] = []
    worker: list[NDArray[np.int32]] = []
    label: list[NDArray[np.int32]] = []
    for group in groups:
        table = read(group, crowd.columns)
        items += table[crowd.columns.task].chunks
        worker.append(_numbers(table[crowd.columns.worker], crowd.workers))
        label.append(_numbers(table[crowd.columns.label], crowd.classes))
    encoded = pa.concat_arrays(items).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    names = encoded.dictionary.take(order)
    # Only messages need the names.  numpy would make one Python object per name; this wrapper makes none.
    ids: Any = pd.arrays.ArrowExtensionArray
    labels = CrowdLabels(
        rank[encoded.indices.to_numpy()], np.concatenate(worker), np.concatenate(label),
        n_items=len(names), n_workers=len(crowd.workers), n_classes=len(crowd.classes),
        item_ids=ids(names), worker_ids=ids(crowd.workers), repeats=crowd.repeats,
    )  # fmt: skip
    return labels, names


def _numbers(values: pa.ChunkedArray, names: pa.Array) -> NDArray[np.int32]:
    return pc.index_in(values, value_set=names).to_numpy().astype(np.int32)
