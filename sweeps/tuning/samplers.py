"""Where the next trial is: TPE, CMA-ES or chance, each trial with a seed of its own.

A driver that goes on, and two that share a study, must not draw the same points again: so a trial's draws follow from
the search's seed and the trial's number, and from nothing that a process remembers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import optuna
from cmaes import CMA
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from crowdml.support.search_space import Real, Space, Value, Whole

Sampler = Literal["tpe", "cmaes", "random"]

N_STARTUP = 10
"""Trials of TPE that are drawn at random."""
_SIGMA = 0.25
"""Width of CMA-ES's first generation, in units of the ranges."""


def make_sampler(kind: Sampler, space: Space, defaults: Mapping[str, Value], seed: int) -> BaseSampler:
    """A sampler of points of a space.

    Args:
        kind: "tpe"; "cmaes", for numbers, with TPE for choices; "random".
        space: option -> range.
        defaults: where CMA-ES starts.
        seed: of the search.
    """
    return _SeededByTrial(kind, space, defaults, seed)


class _SeededByTrial(BaseSampler):
    """Draws each trial by a fresh sampler with the trial's own seed."""

    def __init__(self, kind: Sampler, space: Space, defaults: Mapping[str, Value], seed: int) -> None:
        self._kind: Sampler = kind
        self._space, self._defaults, self._seed = space, defaults, seed
        self._number, self._sampler = -1, self._fresh(0)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See BaseSampler."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See BaseSampler."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See BaseSampler."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number, self._sampler = trial.number, self._fresh(trial.number)
        return self._sampler

    def _fresh(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self._kind == "random":
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Options are drawn together, for good values of one depend on the others; a trial that another driver
            # computes counts as a bad one until it is done, so that nobody draws beside it.
            tpe = TPESampler(seed=seed, n_startup_trials=N_STARTUP, multivariate=True, group=True, constant_liar=True)
        return tpe if self._kind == "tpe" else _CmaEs(self._space, self._defaults, seed, tpe)


class _CmaEs(BaseSampler):
    """CMA-ES over the real and whole options, its state computed anew from the study's trials.

    Optuna's own keeps its state pickled in the study, and a study in a shared folder must not be able to run code.
    """

    def __init__(self, space: Space, defaults: Mapping[str, Value], seed: int, others: BaseSampler) -> None:
        self._ranges = {name: kind for name, kind in space.items() if isinstance(kind, (Real, Whole))}
        self._defaults, self._seed, self._others = defaults, seed, others

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The numbers; of fewer than two there is no covariance."""
        if len(self._ranges) < 2:
            return {}
        return {name: _distribution(kind) for name, kind in self._ranges.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A point of the generation that is due."""
        if not search_space:
            return {}
        unit = self._optimizer(study).ask()
        return {name: _from_unit(kind, at) for (name, kind), at in zip(self._ranges.items(), unit, strict=True)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """What is no number, by TPE."""
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def _optimizer(self, study: Study) -> CMA:
        start = np.clip(self._to_unit(self._defaults), 0.1, 0.9)
        bounds = np.tile([0.0, 1.0], (len(start), 1))
        optimizer = CMA(mean=start, sigma=_SIGMA, bounds=bounds, seed=self._seed)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        points = [(self._to_unit(trial.params), sign * trial.value) for trial in done if trial.value is not None]
        for generation in _whole_chunks(points, optimizer.population_size):
            optimizer.tell(generation)
        return optimizer

    def _to_unit(self, point: Mapping[str, Any]) -> NDArray[np.float64]:
        return np.array([_in_unit(kind, point[name]) for name, kind in self._ranges.items()])


def _whole_chunks(points: Sequence[Any], size: int) -> list[list[Any]]:
    return [list(points[at : at + size]) for at in range(0, len(points) - size + 1, size)]


def _distribution(kind: Real | Whole) -> BaseDistribution:
    if isinstance(kind, Real):
        return FloatDistribution(kind.low, kind.high, log=kind.log)
    return IntDistribution(kind.low, kind.high, log=kind.log)


def _in_unit(kind: Real | Whole, value: float) -> float:
    """A value's place between the ends of its range, in [0, 1]."""
    low, high, at = (math.log(x) if kind.log else x for x in (kind.low, kind.high, value))
    return (at - low) / (high - low)


def _from_unit(kind: Real | Whole, at: float) -> float | int:
    low, high = (math.log(x) if kind.log else x for x in (kind.low, kind.high))
    value = low + at * (high - low)
    value = min(max(math.exp(value) if kind.log else value, kind.low), kind.high)
    return round(value) if isinstance(kind, Whole) else value
