"""Minimax entropy with penalties chosen by cross-validation over the annotations.

D. Zhou, Q. Liu, J. Platt, C. Meek, N. Shah, arXiv 1503.07240 (2015).  The worker penalty comes from a grid, and the
item penalty is proportional to the worker penalty.  The likelihood of held-out annotations selects the penalties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.aggregator import Aggregation, Sizes, TieRule, check_least, checked, dense_cells
from crowdml.aggregation.minimax.minimax_conditional import MinimaxConditional
from crowdml.aggregation.minimax.minimax_em import Minimax
from crowdml.aggregation.minimax.minimax_entropy import MinimaxEntropy
from crowdml.aggregation.minimax.minimax_ordinal import MinimaxOrdinal
from crowdml.labels import CrowdLabels

Form = Literal["vector", "conditional", "ordinal"]

FORMS = {"vector": MinimaxEntropy, "conditional": MinimaxConditional, "ordinal": MinimaxOrdinal}


@dataclass(frozen=True)
class MinimaxCv(TieRule):
    """A form of minimax entropy, with the penalties that predict held-out annotations best.

    Args:
        form: "vector" is MinimaxEntropy, "conditional" is MinimaxConditional, "ordinal" is MinimaxOrdinal (ordered
            classes).
        grid: the worker penalties to try, in units of n_classes**2.
        n_folds: number of parts of the annotations.  Each part is held out once; `seed` assigns annotations to parts.
        max_iter, tol, inner_iter: the options of the form, for every fit.
    """

    form: Form = "vector"
    grid: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    n_folds: int = 5
    max_iter: int = 100
    tol: float = 1e-3
    inner_iter: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(get_args(Form))}, got {self.form!r}")
        if not self.grid or not all(0 < value < np.inf for value in self.grid):
            raise ValueError(f"grid must hold positive finite numbers, at least one, got {self.grid}")
        check_least(self, 2, "n_folds")
        self._with_penalty(1.0)  # the form checks the options

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return self._with_penalty(1.0).peak_cells(sizes) + dense_cells(sizes, posteriors=4)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Choose the penalty and fit the form to all annotations.  See `fit` of the form."""
        return self._with_penalty(self.choose(crowd, prior).lambda_worker).fit(crowd, prior)

    def choose(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> PenaltyChoice:
        """Return the penalty that `fit` uses, and the scores.  Of penalties with equal scores, `fit` uses the largest.

        Raises:
            ValueError: there are fewer annotations than folds.
        """
        if crowd.n_annotations < self.n_folds:
            raise ValueError(
                f"n_folds = {self.n_folds} needs {self.n_folds} annotations or more, got {crowd.n_annotations}"
            )
        fold = deal_out(crowd, self.n_folds, self.seed)
        penalties = sorted((value * crowd.n_classes**2 for value in self.grid), reverse=True)
        score = [self._score(crowd, fold, penalty, prior) for penalty in penalties]
        return PenaltyChoice(penalties[int(np.argmax(score))], penalties, score)

    def _score(self, crowd: CrowdLabels, fold: NDArray[np.integer], penalty: float, prior: ArrayLike | None) -> float:
        """Return the mean log likelihood of a held-out annotation, given the item's posterior from the other folds."""
        method = self._with_penalty(penalty)
        total = 0.0
        for number in range(self.n_folds):
            solution = method.solve(crowd.select(fold != number), prior)
            _, log_evidence = solution.terms.infer(crowd.select(fold == number), solution.posterior)
            total += float(log_evidence.sum())
        return total / crowd.n_annotations

    def _with_penalty(self, lambda_worker: float) -> Minimax:
        options = {name: getattr(self, name) for name in ("max_iter", "tol", "inner_iter", "ties", "seed")}
        return FORMS[self.form](lambda_worker=lambda_worker, **options)


class PenaltyChoice(NamedTuple):
    """The chosen worker penalty, all penalties, and the mean log likelihood of a held-out annotation for each."""

    lambda_worker: float
    penalties: list[float]
    score: list[float]


def deal_out(crowd: CrowdLabels, n_folds: int, seed: int) -> NDArray[np.integer]:
    """Return the (n_annotations,) fold of each annotation.

    Folds have equal sizes, and the annotations of an item are spread over the folds.  The result does not depend on the
    order of the rows.
    """
    known_order = np.lexsort((crowd.label, crowd.worker, crowd.item))
    shuffled = known_order[np.random.default_rng(seed).permutation(crowd.n_annotations)]
    by_item = shuffled[np.argsort(crowd.item[shuffled], kind="stable")]
    fold = np.empty(crowd.n_annotations, np.int64)
    fold[by_item] = np.arange(crowd.n_annotations) % n_folds
    return fold
