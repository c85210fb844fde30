"""One shard of a crowd: some items, all their annotations, and the E-step on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crowdml.aggregation.aggregator import TieRule, break_ties, doubt_of, vote_shares
from crowdml.aggregation.inference.confusion import Posterior, one_hot
from crowdml.aggregation.inference.em_loop import EmMethod
from crowdml.aggregation.inference.kernels import Expectation, expectation, expected_counts
from crowdml.files import Columns
from crowdml.labels import CrowdLabels, Repeats
from sweeps.aggregation.layout import RowGroup, read
from sweeps.store.locations import join, write_parquet


@dataclass(frozen=True, eq=False)
class Plan:
    """What all shards share.

    Args:
        shards: the row groups of each.
        columns: names of their columns.
        workers, classes: the names of all workers and classes of the crowd, in order.
        repeats: as in CrowdLabels.
        ties: how labels are chosen among equally probable classes.
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
    """What an E-step needs: (n_workers, n_classes, n_classes) and (n_classes,)."""

    log_confusion: NDArray[np.float64]
    log_prior: NDArray[np.float64]


class Shard:
    """The annotations and the posterior of a shard's items.

    The posterior follows from the tables that were used last.  So a process that takes a dead one's place reads the
    annotations again, makes the posterior that the dead one had, and goes on from there; a call that is repeated gives
    the same answer.

    Args:
        plan: what all shards share.
        number: of this one, from 0.
    """

    def __init__(self, plan: Plan, number: int) -> None:
        self._plan, self._number = plan, number
        self._loaded: tuple[CrowdLabels, pa.Array] | None = None
        self._posterior: Posterior = np.empty((0, 0))
        self._iteration = -1  # the one whose posterior this is; 0 is the start

    def first(self) -> Expectation:
        """The sums under the first posterior."""
        self._restore(0, None)
        return self._sums(self._posterior)

    def step(self, iteration: int, tables: LogTables, before: LogTables | None) -> Expectation:
        """The sums of an E-step.

        Args:
            iteration: from 1.
            tables: of this iteration.
            before: of the one before, None in the first.
        """
        self._restore(iteration - 1, before)
        sums = self._e_step(tables)
        self._iteration = iteration
        return sums

    def votes(self) -> Expectation:
        """The sums with each item's whole weight on its majority label."""
        self._restore(0, None)
        return self._sums(one_hot(self._labels(), self._crowd.n_classes))

    def n_items(self) -> int:
        """Number of items."""
        return self._crowd.n_items

    def write(self, iteration: int, tables: LogTables | None, folder: str) -> None:
        """Write one row an item: its name, its label, the posterior `p_<class>`, and the doubt (see Aggregation).

        Args:
            iteration: the last one.
            tables: its tables, None for the start.
            folder: where each shard writes its file.
        """
        self._restore(iteration, tables)
        _, items = self._load()
        columns, classes = self._plan.columns, self._plan.classes
        chances = {f"p_{name}": self._posterior[:, c] for c, name in enumerate(classes.to_pylist())}
        doubt = doubt_of(self._posterior)
        given = {columns.task: items, columns.label: classes.take(self._labels())}
        numbers = {name: pa.array(values) for name, values in {**chances, "doubt": doubt}.items()}
        write_parquet(pa.table({**given, **numbers}), join(folder, f"part-{self._number:05}.parquet"))

    # ------------------------------------------------------------------------------------------------

    @property
    def _crowd(self) -> CrowdLabels:
        return self._load()[0]

    def _load(self) -> tuple[CrowdLabels, pa.Array]:
        # Not in the constructor: what is wrong with the data is to be raised, not to be the actor's death.
        if self._loaded is None:
            self._loaded = load(self._plan, self._plan.shards[self._number])
        return self._loaded

    def _restore(self, iteration: int, tables: LogTables | None) -> None:
        """Make the posterior of an iteration, unless it is there."""
        if self._iteration == iteration:
            return
        crowd, em = self._crowd, self._plan.em
        if tables is None:
            self._posterior = vote_shares(crowd) if em is None else em.start(crowd)
        else:
            self._posterior = np.empty((crowd.n_items, crowd.n_classes))
            self._e_step(tables)
        self._iteration = iteration

    def _e_step(self, tables: LogTables) -> Expectation:
        hard = self._plan.em is not None and self._plan.em.hard
        return expectation(self._crowd, tables.log_confusion, tables.log_prior, self._posterior, hard=hard)

    def _sums(self, posterior: Posterior) -> Expectation:
        return Expectation(expected_counts(self._crowd, posterior), posterior.sum(axis=0), 0.0, np.inf)

    def _labels(self) -> NDArray[np.int64]:
        # Each shard draws on its own among tied classes.
        ties = self._plan.ties
        return break_ties(self._posterior, self._crowd, ties.ties, ties.seed + self._number)


def load(plan: Plan, groups: Sequence[RowGroup]) -> tuple[CrowdLabels, pa.Array]:
    """Annotations, with workers and classes numbered as in the whole crowd, and the names of its items.

    Raises:
        ValueError: a repeated annotation where that is an error.
    """
    items: list[pa.Array] = []
    worker: list[NDArray[np.int32]] = []
    label: list[NDArray[np.int32]] = []
    for group in groups:
        table = read(group, plan.columns)
        items += table[plan.columns.task].chunks
        worker.append(_numbers(table[plan.columns.worker], plan.workers))
        label.append(_numbers(table[plan.columns.label], plan.classes))
    encoded = pa.concat_arrays(items).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    names = encoded.dictionary.take(order)
    crowd = CrowdLabels(
        rank[encoded.indices.to_numpy()],
        np.concatenate(worker),
        np.concatenate(label),
        n_items=len(names),
        n_workers=len(plan.workers),
        n_classes=len(plan.classes),
        item_ids=_as_they_are(names),
        worker_ids=_as_they_are(plan.workers),
        repeats=plan.repeats,
    )
    return crowd, names


def _numbers(values: pa.ChunkedArray, names: pa.Array) -> NDArray[np.int32]:
    return pc.index_in(values, value_set=names).to_numpy().astype(np.int32)


def _as_they_are(names: pa.Array) -> Any:
    """Names for messages, which numpy would make a Python object each."""
    return pd.arrays.ArrowExtensionArray(names)
