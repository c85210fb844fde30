"""Samplers of points: TPE, CMA-ES or random, with one seed per trial.

The random numbers of a trial depend only on the search's seed and the trial's number.  So drivers that resume or share
a study do not draw the same points again.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import optuna
from cmaes import CMA
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from crowdml.support.search_space import Float, Space, Value, Whole

Sampler = Literal["tpe", "cmaes", "random"]

N_STARTUP = 10
"""Number of trials that TPE draws at random first."""
_SIGMA = 0.25
"""Standard deviation of CMA-ES's first generation, as a share of each range."""


def make_sampler(kind: Sampler, space: Space, defaults: Mapping[str, Value], seed: int) -> BaseSampler:
    """Return a sampler of points of a space (option -> range), with the seed of the search.

    "cmaes" starts at the defaults, and draws the options that are not numbers with TPE.
    """
    return _SeededByTrial(kind, space, defaults, seed)


class _SeededByTrial(BaseSampler):
    """Draws the point of each trial with a new sampler that has the trial's own seed."""

    def __init__(self, kind: Sampler, space: Space, defaults: Mapping[str, Value], seed: int) -> None:
        self._kind: Sampler = kind
        self._space, self._defaults, self._seed = space, defaults, seed
        self._number, self._sampler = -1, self._new_sampler(0)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler_of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler_of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler_of(trial).sample_independent(study, trial, param_name, param_distribution)

    def _sampler_of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number, self._sampler = trial.number, self._new_sampler(trial.number)
        return self._sampler

    def _new_sampler(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self._kind == "random":
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Draw the options together, because good values of one option depend on the others.  Count a running trial
            # as a bad one, so that no driver draws a point close to it.
            tpe = TPESampler(seed=seed, n_startup_trials=N_STARTUP, multivariate=True, group=True, constant_liar=True)
        return tpe if self._kind == "tpe" else _CmaEs(self._space, self._defaults, seed, tpe)


class _CmaEs(BaseSampler):
    """CMA-ES over the real and whole options; computes its state from the study's trials.

    Optuna's CMA-ES keeps a pickled state in the study.  A pickle can run code, and the study may be in a shared folder.
    """

    def __init__(self, space: Space, defaults: Mapping[str, Value], seed: int, others: BaseSampler) -> None:
        self._ranges = {name: kind for name, kind in space.items() if isinstance(kind, (Float, Whole))}
        self._defaults, self._seed, self._others = defaults, seed, others

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if len(self._ranges) < 2:
            return {}  # CMA-ES needs two numbers
        return {name: distribution(kind) for name, kind in self._ranges.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        unit = self._optimizer(study).ask()
        return {name: _from_unit(kind, at) for (name, kind), at in zip(self._ranges.items(), unit, strict=True)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def _optimizer(self, study: Study) -> CMA:
        start = np.clip(self._to_unit(self._defaults), 0.1, 0.9)
        bounds = np.tile([0.0, 1.0], (len(start), 1))
        optimizer = CMA(mean=start, sigma=_SIGMA, bounds=bounds, seed=self._seed)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        points = [(self._to_unit(trial.params), sign * trial.value) for trial in done if trial.value is not None]
        size = optimizer.population_size
        for at in range(0, len(points) - size + 1, size):  # whole generations only
            optimizer.tell(points[at : at + size])
        return optimizer

    def _to_unit(self, point: Mapping[str, Any]) -> NDArray[np.float64]:
        return np.array([_in_unit(kind, point[name]) for name, kind in self._ranges.items()])


def distribution(kind: Float | Whole) -> BaseDistribution:
    """Return the distribution from which Optuna draws a number of the range."""
    if isinstance(kind, Float):
        return FloatDistribution(kind.low, kind.high, log=kind.log)
    return IntDistribution(kind.low, kind.high, log=kind.log)


def _in_unit(kind: Float | Whole, value: float) -> float:
    """Return the position of a value in its range, in [0, 1]."""
    low, high, at = (math.log(x) if kind.log else x for x in (kind.low, kind.high, value))
    return (at - low) / (high - low)


def _from_unit(kind: Float | Whole, at: float) -> float | int:
    low, high = (math.log(x) if kind.log else x for x in (kind.low, kind.high))
    value = low + at * (high - low)
    value = min(max(math.exp(value) if kind.log else value, kind.low), kind.high)
    return round(value) if isinstance(kind, Whole) else value
