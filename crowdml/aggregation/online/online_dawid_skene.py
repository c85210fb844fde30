"""Dawid-Skene for annotations that keep arriving: new items, new workers, new answers to old items.

Incremental EM (R. M. Neal and G. E. Hinton, "A view of the EM algorithm that justifies incremental, sparse, and other
variants", 1998) makes an E-step of some items only, and replaces the share of these items in the expected counts.  This
raises the same bound on the likelihood as a whole iteration.  Stepwise EM (O. Cappé and E. Moulines, JRSS-B 71, 2009;
P. Liang and D. Klein, NAACL 2009) reduces the weight of old counts instead.  Stepwise EM stores no annotations, but it
needs a step size, cannot use an answer to an old item, and its bound may fall.  Annotations are small.  So this class
stores all annotations, and its result comes close to the result of DawidSkene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crowdml.aggregation.aggregator import Aggregation, break_ties, named_classes
from crowdml.aggregation.dawid_skene import DawidSkene
from crowdml.aggregation.inference.confusion import Posterior, infer_from_logs
from crowdml.aggregation.inference.em_loop import e_step_of, iterate
from crowdml.aggregation.inference.kernels import Tables, expectation, expected_counts
from crowdml.aggregation.online.growing_crowd import COLUMNS, CrowdPart, GrowingCrowd
from crowdml.aggregation.online.online_state import Numbering, Rows, read_state, write_state
from crowdml.labels import Array, CrowdLabels, Repeats

KIND, VERSION = "online Dawid-Skene", 1


class _Learnt(NamedTuple):
    """A posterior of all items (n_items, n_classes), and the expected counts under it, without pseudo-counts."""

    posterior: Posterior
    counts: Array
    class_counts: Array


class OnlineDawidSkene:
    """Dawid-Skene that takes annotations as they arrive.

    The time of a call grows with the number of annotations of the changed items.  EM over all items runs rarely: all
    these runs together cost as much as 1 / refresh + 1 runs over all annotations, with two starts each.  The state
    takes 16 bytes per annotation, 8 * n_classes + 8 per item, 8 * n_classes**2 per worker, and the ids.

    Args:
        class_names: all classes, strings or whole numbers, in order.
        method: the hyper-parameters.  `max_iter` and `tol` apply to `refine`.
        n_passes: iterations over the changed items, per call.
        refresh: call `refine` when the number of annotations has grown by this share since the last call.  Infinity
            means never.
        repeats: what to do if a worker labels an item more than once, in one call or in several: "error" raises an
            error, "first" keeps the first label, "keep" keeps all labels.

    Raises:
        ValueError: there are fewer than two classes or repeated classes, an option is out of range, or the worker model
            is "homogeneous", where every answer changes the one matrix of all workers.
    """

    def __init__(
        self,
        class_names: Sequence[int | str],
        method: DawidSkene | None = None,
        *,
        n_passes: int = 3,
        refresh: float = 0.25,
        repeats: Repeats = "error",
    ) -> None:
        self.method = method or DawidSkene()
        if self.method.device != "cpu":
            raise ValueError(f'device must be "cpu" online, got {self.method.device!r}')
        if self.method.worker_model == "homogeneous":
            raise ValueError('worker_model "homogeneous" cannot be learnt online; use DawidSkene')
        if n_passes < 1:
            raise ValueError(f"n_passes must be at least 1, got {n_passes}")
        if not refresh > 0:
            raise ValueError(f"refresh must be positive, got {refresh}")
        self.n_passes, self.refresh = n_passes, refresh
        self._grown = GrowingCrowd(class_names, repeats)
        n_classes = len(class_names)
        self._posterior = Rows((n_classes,), np.float64)
        # The expected counts under the current posterior, without pseudo-counts.
        self._counts = Rows((n_classes, n_classes), np.float64)
        self._class_counts = np.zeros(n_classes)
        self._n_at_refine = 0

    @property
    def class_names(self) -> list[int | str]:
        """The classes, in order."""
        return self._grown.classes.names

    @property
    def n_annotations(self) -> int:
        """Number of annotations so far."""
        return len(self._grown.item)

    def partial_fit(self, annotations: CrowdLabels | pd.DataFrame) -> OnlineDawidSkene:
        """Add annotations, and return self.

        Args:
            annotations: a frame `task, worker, label`, or a crowd.  Gold labels of a crowd count from now on, for items
                with annotations.  Ids identify items and workers.  A crowd without ids has the ids 0, 1, 2, ...

        Raises:
            ValueError: a class is unknown, an id is neither a string nor a whole number, a repeat is not allowed, or
                the crowd has worker histories.  Nothing is added then.
        """
        added, touched = self._grown.add(annotations)
        if added is not None:
            self._start(added)
        if not len(touched):
            return self
        part = self._grown.part(touched)
        for _ in range(self.n_passes):
            self._pass_over(part)
        if self.n_annotations >= (1 + self.refresh) * self._n_at_refine:
            self.refine()
        return self

    def refine(self) -> None:
        """Run EM over all items, from the current state and from the votes.  Keep the result with the higher bound.

        The first few annotations can lead EM to a poor local optimum, which EM leaves only with a new start.
        """
        crowd = self.crowd()
        starts = (self._posterior.values.copy(), self.method.start(crowd))
        best = max((self._em_from(crowd, start) for start in starts), key=self._bound_of)
        self._posterior.values[:], self._counts.values[:], self._class_counts = best
        self._n_at_refine = self.n_annotations

    def predict(self, items: Sequence[int | str]) -> NDArray[np.object_]:
        """Return the (n,) most probable class of each item; None for a tie if `method.ties` is "abstain".

        Raises:
            ValueError: an item has no annotations.
        """
        part, posterior, position = self._infer(items)
        chosen = break_ties(posterior, part.crowd, self.method.ties, self.method.seed)
        return named_classes(np.array(self.class_names, dtype=object), chosen[position])

    def predict_proba(self, items: Sequence[int | str]) -> Posterior:
        """Return the (n, n_classes) posterior of each item, given all that is known about its workers.

        Raises:
            ValueError: an item has no annotations.
        """
        _, posterior, position = self._infer(items)
        return posterior[position]

    def result(self) -> Aggregation:
        """Return the Aggregation of all items and workers, in the order of `crowd()`.

        `objective` holds only the current bound.  `converged` is False, because the next annotation can change the
        result.
        """
        crowd, tables = self.crowd(), self._tables()
        posterior, _ = infer_from_logs(crowd, tables.log_confusion, tables.log_prior)
        objective = (self.bound(),)
        return self.method.conclude(
            crowd, posterior, tables.class_prior, confusion=tables.confusion, converged=False, objective=objective
        )

    def bound(self) -> float:
        """Return the lower bound on log likelihood plus log density of the tables.  No iteration lowers this bound."""
        return self._bound_of(_Learnt(self._posterior.values, self._counts.values, self._class_counts))

    def crowd(self) -> CrowdLabels:
        """Return all annotations so far, in the order in which they arrived."""
        return self._grown.whole()

    def save(self, path: str | Path) -> None:
        """Write the state to one npz file: arrays, and options and ids as JSON.  A failed write keeps the old file."""
        header = {
            "kind": KIND,
            "version": VERSION,
            "method": asdict(self.method),
            "options": {"n_passes": self.n_passes, "refresh": self.refresh, "repeats": self._grown.repeats},
            "n_at_refine": self._n_at_refine,
            "class_names": self.class_names,
            "items": self._grown.items.names,
            "workers": self._grown.workers.names,
        }
        arrays = {name: rows.values for name, rows in self._rows().items()}
        write_state(path, header, arrays | {"class_counts": self._class_counts})

    @classmethod
    def load(cls, path: str | Path) -> OnlineDawidSkene:
        """Return the state from a file of `save`.  Learning continues as if it had never stopped.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file has other contents, is damaged, or has another version.
        """
        header, arrays = read_state(path, kind=KIND, version=VERSION)
        online = cls(header["class_names"], DawidSkene(**header["method"]), **header["options"])
        online._grown.items = Numbering("item", header["items"])
        online._grown.workers = Numbering("worker", header["workers"])
        for name, rows in online._rows().items():
            rows.append(arrays[name])
        online._class_counts = arrays["class_counts"]
        online._n_at_refine = header["n_at_refine"]
        return online

    def _rows(self) -> dict[str, Rows]:
        columns = {name: getattr(self._grown, name) for name in COLUMNS}
        return columns | {"posterior": self._posterior, "counts": self._counts}

    def _start(self, added: CrowdPart) -> None:
        """Give new items a first posterior, and count the new annotations under the posteriors of their items."""
        is_new = added.items >= len(self._posterior)
        self._posterior.grow(len(self._grown.items))
        self._counts.grow(len(self._grown.workers))
        if is_new.any():
            start = self.method.start(added.crowd)[is_new]
            self._posterior.values[added.items[is_new]] = start
            self._class_counts += start.sum(axis=0)
        self._counts.values[added.workers] += expected_counts(added.crowd, self._posterior.values[added.items])

    def _pass_over(self, part: CrowdPart) -> None:
        """Make an E-step of some items: replace their share in the counts."""
        posterior = self._posterior.values[part.items]
        share, class_share = expected_counts(part.crowd, posterior), posterior.sum(axis=0)
        tables = self._tables(part.workers)
        step = expectation(part.crowd, tables.log_confusion, tables.log_prior, posterior, hard=self.method.hard)
        self._posterior.values[part.items] = posterior
        self._counts.values[part.workers] += step.counts - share
        self._class_counts += step.class_counts - class_share

    def _em_from(self, crowd: CrowdLabels, posterior: Posterior) -> _Learnt:
        """Run EM over all items from a posterior, which is overwritten."""
        e_step = e_step_of(self.method, crowd, posterior)
        _, sums, *_ = iterate(self.method, expected_counts(crowd, posterior), posterior.sum(axis=0), e_step)
        return _Learnt(posterior, sums.counts, sums.class_counts)

    def _bound_of(self, learnt: _Learnt) -> float:
        posterior, counts, class_counts = learnt
        tables = self.method.m_step(counts, class_counts)
        expected = (counts * tables.log_confusion).sum() + class_counts @ tables.log_prior
        entropy = -(posterior * np.log(np.where(posterior > 0, posterior, 1))).sum()
        return float(expected + entropy + tables.log_density)

    def _tables(self, workers: NDArray[np.int64] | slice = slice(None)) -> Tables:
        """M-step.  The tables of a worker depend only on the counts of this worker."""
        # A count that should be zero can be slightly negative, because of rounding errors.
        return self.method.m_step(np.maximum(self._counts.values[workers], 0), np.maximum(self._class_counts, 0))

    def _infer(self, items: Sequence[int | str]) -> tuple[CrowdPart, Posterior, NDArray[np.int64]]:
        """Return the distinct items, their posterior, and the row of each requested item in the posterior."""
        numbers = self._grown.items.find(items)
        if (numbers < 0).any():
            raise ValueError(f"item {items[int((numbers < 0).argmax())]!r} has no annotations")
        distinct, position = np.unique(numbers, return_inverse=True)
        part = self._grown.part(distinct)
        tables = self._tables(part.workers)
        posterior, _ = infer_from_logs(part.crowd, tables.log_confusion, tables.log_prior)
        return part, posterior, position
