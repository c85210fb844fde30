"""What a point is worth on the test labels, which only this looks at, when the search is over."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crowdml.support.search_space import Value
from sweeps.tuning.objective import Data, accuracy_on_test
from sweeps.tuning.study import SharedStudy


@dataclass(frozen=True)
class Tested:
    """Accuracies of a point, one a seed."""

    by_seed: tuple[float, ...]

    def __str__(self) -> str:
        mean = f"{100 * statistics.fmean(self.by_seed):.2f} %"
        if len(self.by_seed) < 2:
            return mean
        return f"{mean} ± {100 * statistics.stdev(self.by_seed):.2f} over {len(self.by_seed)} seeds"


def final_test(shared: SharedStudy, point: Mapping[str, Value], seeds: Sequence[int], data: Data) -> Tested:
    """The test accuracy of a point for every seed; what the study knows already is not computed again."""
    return Tested(tuple(_accuracy(shared, point, seed, data) for seed in seeds))


def _accuracy(shared: SharedStudy, point: Mapping[str, Value], seed: int, data: Data) -> float:
    cell = shared.search.cell_at(point, seed)
    name = f"test of cell {cell.id}"
    known = shared.study.user_attrs.get(name)
    if known is None:
        known = accuracy_on_test(shared.search, cell, data)
        shared.study.set_user_attr(name, known)
    return known
