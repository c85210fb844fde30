"""The final test: the accuracy of a point on the test labels, computed once when the search is over."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crowdml.support.search_space import Value
from sweeps.tuning.objective import DataSet, accuracy_on_test
from sweeps.tuning.study import SharedStudy


@dataclass(frozen=True)
class FinalAccuracy:
    """The test accuracies of a point, one per seed.  `str` shows the mean and the standard deviation."""

    by_seed: tuple[float, ...]

    def __str__(self) -> str:
        mean = f"{100 * statistics.fmean(self.by_seed):.2f} %"
        if len(self.by_seed) < 2:
            return mean
        return f"{mean} ± {100 * statistics.stdev(self.by_seed):.2f} over {len(self.by_seed)} seeds"


def final_test(study: SharedStudy, point: Mapping[str, Value], seeds: Sequence[int], data: DataSet) -> FinalAccuracy:
    """Return the test accuracy of a point for each seed.  The study stores each accuracy for later calls."""
    by_seed: list[float] = []
    for cell in (study.search.cell_at(point, seed) for seed in seeds):
        name = f"test of cell {cell.id}"
        accuracy = study.optuna_study.user_attrs.get(name)
        if accuracy is None:
            accuracy = accuracy_on_test(study.search, cell, data)
            study.optuna_study.set_user_attr(name, accuracy)
        by_seed.append(accuracy)
    return FinalAccuracy(tuple(by_seed))
