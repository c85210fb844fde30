"""EBCC: every class is a mixture of subtypes, and the answers of all workers depend on the subtype.

Y. Li, B. I. P. Rubinstein and T. Cohn, "Exploiting Worker Correlation for Label Aggregation in Crowdsourcing", ICML
2019.  The defaults come from the authors' experiments (yuan-li/truth-inference-at-scale).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from crowdml.aggregation.aggregator import (
    Aggregation,
    Sizes,
    TieRule,
    check_least,
    check_positive,
    checked,
    dense_cells,
    first_posterior,
    vote_shares,
)
from crowdml.aggregation.inference import dirichlet
from crowdml.aggregation.inference.confusion import FLOOR
from crowdml.aggregation.inference.ebcc_subtypes import Priors, SubtypeInference
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.aggregation.inference.threads import n_threads, run_parts
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Float, Space, Whole


@dataclass(frozen=True)
class Ebcc(TieRule):
    """Enhanced Bayesian classifier combination, by mean-field variational Bayes with restarts.

    An item of class c has a subtype m.  Worker w gives it label l with probability v[w, c, m, l].  The items of one
    subtype mislead many workers in the same way, so their errors are correlated given the class.  A subtype has no
    fixed meaning.  With one subtype per class, this is IBCC.

    Args:
        n_groups: number of subtypes per class.
        group_pseudo_count: Dirichlet pseudo-count of all subtypes of a class together (a_pi).  With a small value,
            subtypes can become empty.
        diagonal, off_diagonal: pseudo-counts per class and subtype, of right answers (a_v) and each wrong answer (b_v).
        class_pseudo_count: pseudo-count of each class, in the Dirichlet prior of the class prior (alpha).  "votes"
            takes the sums of the vote shares.
        n_restarts: number of runs from different random subtypes, drawn by `seed`.  The run with the highest bound is
            kept.
        max_iter, tol: stop a run after max_iter iterations, or when no posterior probability changes by more than tol.
    """

    n_groups: int = 10
    group_pseudo_count: float = 0.1
    diagonal: float = 4.0
    off_diagonal: float = 1.0
    class_pseudo_count: float | Literal["votes"] = "votes"
    n_restarts: int = 40
    max_iter: int = 500
    tol: float = 1e-3

    SPACE: ClassVar[Space] = {
        "n_groups": Whole(1, 20),
        "group_pseudo_count": Float(0.01, 1, log=True),
        "diagonal": Float(0.5, 20, log=True),
        "off_diagonal": Float(0.1, 5, log=True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "group_pseudo_count", "diagonal", "off_diagonal")
        if not isinstance(self.class_pseudo_count, str):
            check_positive(self, "class_pseudo_count")
        elif self.class_pseudo_count != "votes":
            raise ValueError(f'class_pseudo_count must be "votes" or a number, got {self.class_pseudo_count!r}')
        check_least(self, 1, "n_groups", "n_restarts", "max_iter")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        n_states = sizes.n_classes * self.n_groups
        runs = 2 * min(n_threads(), self.n_restarts)  # of each thread, the current run and the best one
        answers = sizes.n_workers * n_states * sizes.n_classes
        return dense_cells(sizes, posteriors=6, matrices=4) + runs * n_states * 4 * sizes.n_items + runs * 5 * answers

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Run variational Bayes from the vote shares, which each run divides at random among the subtypes of a class.

        Args:
            crowd: the annotations.  Each answer of a worker's history counts as an item of known class and unknown
                subtype, with that one answer.
            prior: (n_classes,) or (n_items, n_classes), normalised here; replaces the distribution of the class prior.

        Returns:
            The Aggregation; `objective` is the lower bound of the log evidence in the run that was kept (for gold
            items, jointly with their class).  `confusion` and `worker_quality` are posterior means, also over subtypes.
        """
        fixed_prior = check_prior(prior, crowd)
        priors = self._priors(crowd, fixed_prior)
        start = first_posterior(crowd, fixed_prior)
        parts = np.linspace(0, self.n_restarts, min(n_threads(), self.n_restarts) + 1).astype(int).tolist()
        runs = run_parts(
            lambda first, last: self._best_run(crowd, priors, start, range(first, last)), list(pairwise(parts))
        )
        best, converged = max(runs, key=_bound)
        class_prior = dirichlet.mean(best.class_parameters()) if fixed_prior is None else fixed_prior
        group_share = dirichlet.mean(best.group_parameters())
        workers = best.worker_parameters()
        # [w, m, c]: the Beta marginals of the right answers, per subtype.
        right, variance = dirichlet.diagonal_moments(workers.transpose(0, 2, 1, 3))
        expected = np.einsum("cm,wmc->wc", group_share, right)
        spread = np.einsum("cm,wmc->wc", group_share**2, variance)
        return self.conclude(
            crowd,
            dirichlet.fill_unlabelled(crowd, best.posterior, class_prior),
            class_prior,
            confusion=np.einsum("cm,wcml->wcl", group_share, dirichlet.mean(workers)),
            **dirichlet.quality(expected, spread, np.atleast_2d(class_prior).mean(axis=0)),
            converged=converged,
            objective=best.objective,
        )

    def _best_run(self, crowd: CrowdLabels, priors: Priors, start: Array, restarts: range) -> _Run:
        def run(restart: int) -> _Run:
            rng = np.random.default_rng([self.seed, restart])
            joint = rng.dirichlet(np.ones(self.n_groups), start.shape) * start[:, :, None]
            inference = SubtypeInference(crowd, priors, joint)
            converged = False
            while len(inference.objective) < self.max_iter and not converged:
                converged = inference.step() <= self.tol
            return inference, converged

        return max(map(run, restarts), key=_bound)

    def _priors(self, crowd: CrowdLabels, fixed_prior: Array | None) -> Priors:
        n_classes, n_groups = crowd.n_classes, self.n_groups
        if self.class_pseudo_count == "votes":
            classes = np.maximum(vote_shares(crowd).sum(axis=0), FLOOR)
        else:
            classes = np.full(n_classes, self.class_pseudo_count)
        answers = dirichlet.diagonal_heavy(n_classes, self.diagonal, self.off_diagonal)
        groups = np.full((n_classes, n_groups), self.group_pseudo_count / n_groups)
        return Priors(answers, groups, classes, fixed_prior)


_Run = tuple[SubtypeInference, bool]
"""A run, and whether it converged."""


def _bound(run: _Run) -> float:
    return run[0].objective[-1]
