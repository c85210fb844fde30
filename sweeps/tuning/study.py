"""SharedStudy: the trials of one search, which several drivers may compute together.

The storage is a journal file or a database.  It holds each trial before its computation begins, and the trial's driver
sends heartbeats to the storage.  A trial without heartbeats is given up after a while, and another driver may compute a
trial in its place.  Drivers count heartbeats and never compare times, because the clocks of two machines may differ.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DBAPIError

from crowdml.support.heartbeat import heartbeat
from crowdml.support.search_space import Value
from sweeps.tuning.samplers import Sampler, make_sampler
from sweeps.tuning.search import Search

BEAT_SECONDS, LOST_SECONDS = 5.0, 30.0
OPEN_AGAIN_SECONDS = (0.2, 0.5, 1.0)
"""Seconds between the attempts to open a database."""

# If another driver has given up a trial, the trial's place is taken, and its updates are ignored.
_IGNORE_IF_GIVEN_UP = suppress(optuna.exceptions.UpdateFinishedTrialError)

# Names of a trial's attributes in the storage.
POINT, ERROR, SECONDS, BY_SEED, COPY_OF, SEGMENTS, DRIVER, _BEAT = (
    "point", "error", "seconds", "by_seed", "copy_of", "segments", "driver", "beat",
)  # fmt: skip


class StudyError(ValueError):
    """The storage of a study cannot be opened."""


@dataclass(frozen=True)
class Claim:
    """A trial that this driver computes: its number, and its point (option -> value)."""

    number: int
    point: dict[str, Value]


class SharedStudy:
    """The trials of one search.

    Args:
        storage: the path of a journal file, which may lie on NFS, or the URL of a database.
        n_trials: number of trials of all drivers and runs together.
        multi_objective: the seconds of a trial are a second objective.
        population: the trials are members of a population, whose values are not the values of their points.
        seed: of the sampler.

    Raises:
        StudyError: the storage cannot be opened.
        ValueError: the sampler does not support several objectives.
    """

    def __init__(
        self,
        storage: str,
        search: Search,
        *,
        n_trials: int,
        sampler: Sampler = "tpe",
        multi_objective: bool = False,
        population: bool = False,
        seed: int = 0,
    ) -> None:
        if multi_objective and sampler == "cmaes":
            raise ValueError("--sampler cmaes supports one objective; with --multi-objective use tpe or random")
        self.search, self.n_trials, self.multi_objective = search, n_trials, multi_objective
        defaults = search.defaults()
        self.optuna_study = optuna.create_study(
            storage=open_storage(storage),
            study_name=study_name(search, multi_objective=multi_objective, population=population),
            directions=["maximize", "minimize"] if multi_objective else ["maximize"],
            sampler=make_sampler(sampler, search.space, defaults, seed),
            load_if_exists=True,
        )
        self._claimed: dict[int, Trial] = {}
        self._n_beats = 0
        self._last_beats: dict[int, tuple[Any, float]] = {}
        if not population and not self.optuna_study.get_trials(deepcopy=False):
            self.optuna_study.enqueue_trial(self._parameters(defaults))  # the first trial has the default options

    def finished_trials(self) -> list[FrozenTrial]:
        """Return the trials that are done, stopped early or failed."""
        return [trial for trial in _counted(self.optuna_study) if trial.state.is_finished()]

    def n_running(self) -> int:
        """Return the number of running trials."""
        return sum(trial.state == TrialState.RUNNING for trial in _counted(self.optuna_study))

    def n_left(self) -> int:
        """Return the number of trials that nobody has begun."""
        return self.n_trials - len(_begun(self.optuna_study))

    def best(self) -> FrozenTrial | None:
        """Return the trial with the highest value, the first of several; None if no trial is done."""
        complete = [trial for trial in self.finished_trials() if trial.state == TrialState.COMPLETE]
        return max(complete, key=lambda trial: (trial.values[0], -trial.number), default=None)

    def value_of(self, point: dict[str, Value]) -> float | None:
        """Return the value of a point; None if no trial of the point is done."""
        done = (trial for trial in self.finished_trials() if trial.state == TrialState.COMPLETE)
        return next((trial.values[0] for trial in done if trial.user_attrs[POINT] == point), None)

    def claim(self) -> Claim | None:
        """Return a trial for this driver to compute; None if there is none now (see `more_may_come`).

        A point that the study knows is not computed again: the new trial copies the result of the earlier trial.
        """
        while self.n_left() > 0:
            trial = self.optuna_study.ask()
            point = {name: kind.suggest(trial, name) for name, kind in self.search.space.items()}
            # Another driver may have taken the last place meanwhile; the lower trial number keeps the place.
            if sum(other.number < trial.number for other in _counted(self.optuna_study)) >= self.n_trials:
                self.optuna_study.tell(trial, state=TrialState.FAIL)
                return None
            trial.set_user_attr(POINT, point)
            trial.set_user_attr(DRIVER, f"{socket.gethostname()}:{os.getpid()}")
            known = self._same_point(trial.number, point)
            if known is None:
                self._claimed[trial.number] = trial
                return Claim(trial.number, point)
            if known.state == TrialState.RUNNING:
                self.optuna_study.tell(trial, state=TrialState.FAIL)  # frees the place until the known trial is done
                return None
            self._copy(known, trial)
        return None

    def more_may_come(self) -> bool:
        """Return whether trials are running, so that `claim` may find a trial later.

        This method gives up running trials whose driver has sent no heartbeat for LOST_SECONDS.
        """
        running = [trial for trial in _counted(self.optuna_study) if trial.state == TrialState.RUNNING]
        now = time.monotonic()
        for trial in running:
            beat = trial.user_attrs.get(_BEAT)
            last_beat, since = self._last_beats.get(trial.number, (None, now))
            if trial.number in self._claimed or trial.number not in self._last_beats or beat != last_beat:
                self._last_beats[trial.number] = (beat, now)
            elif now - since >= LOST_SECONDS:
                self.optuna_study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        return bool(running)

    @contextmanager
    def keep_alive(self) -> Iterator[None]:
        """Send heartbeats for the claimed trials until the block ends, then release the unfinished trials."""
        try:
            with heartbeat(self._beat, seconds=BEAT_SECONDS, name="study-heartbeat"):
                yield
        finally:
            self.release()

    def release(self) -> None:
        """Free the places of the claimed trials that are not finished."""
        for number in list(self._claimed):
            self._end(number, {}, TrialState.FAIL)

    def should_prune(self, number: int) -> bool:
        """Return whether the pruner would stop a claimed trial early; never with several objectives."""
        return not self.multi_objective and self._claimed[number].should_prune()

    def report(self, number: int, step: int, value: float) -> None:
        """Store the value that a claimed trial has after a step; does nothing with several objectives."""
        if not self.multi_objective:
            with _IGNORE_IF_GIVEN_UP:
                self._claimed[number].report(value, step)

    def finish(self, number: int, value: float, seconds: float, by_seed: Sequence[float]) -> None:
        """Store the result of a claimed trial."""
        values = [value, seconds] if self.multi_objective else [value]
        self._end(number, {SECONDS: seconds, BY_SEED: list(by_seed)}, TrialState.COMPLETE, values)

    def stop(self, number: int, seconds: float) -> None:
        """Store that a claimed trial was stopped early."""
        self._end(number, {SECONDS: seconds}, TrialState.PRUNED)

    def fail(self, number: int, error: str) -> None:
        """Store that a claimed trial failed; the trial is not tried again."""
        self._end(number, {ERROR: error}, TrialState.FAIL)

    def _same_point(self, number: int, point: dict[str, Value]) -> FrozenTrial | None:
        """Return another trial of the same point that is finished, or that runs and has a lower number."""
        for trial in _counted(self.optuna_study):
            same = trial.number != number and trial.user_attrs.get(POINT) == point
            if same and (trial.state.is_finished() or trial.number < number):
                return trial
        return None

    def _copy(self, known: FrozenTrial, trial: Trial) -> None:
        for name in (SECONDS, BY_SEED, ERROR):
            if name in known.user_attrs:
                trial.set_user_attr(name, known.user_attrs[name])
        trial.set_user_attr(COPY_OF, known.user_attrs.get(COPY_OF, known.number))
        if known.state == TrialState.PRUNED:
            for step, value in known.intermediate_values.items():
                trial.report(value, step)
        values = known.values if known.state == TrialState.COMPLETE else None
        self.optuna_study.tell(trial, values, state=known.state)

    def _end(
        self, number: int, attributes: Mapping[str, Any], state: TrialState, values: list[float] | None = None
    ) -> None:
        with _IGNORE_IF_GIVEN_UP:
            for name, value in attributes.items():
                self._claimed[number].set_user_attr(name, value)
        self.optuna_study.tell(self._claimed.pop(number), values, state=state, skip_if_finished=True)

    def _beat(self) -> None:
        self._n_beats += 1
        for trial in list(self._claimed.values()):
            with _IGNORE_IF_GIVEN_UP:
                trial.set_user_attr(_BEAT, self._n_beats)

    def _parameters(self, point: dict[str, Value]) -> dict[str, Value]:
        """Return the parameters that make Optuna suggest the point."""
        parts = [kind.parameters(name, point[name]) for name, kind in self.search.space.items()]
        return {name: value for part in parts for name, value in part.items()}


def study_name(search: Search, *, multi_objective: bool = False, population: bool = False) -> str:
    """Return the name of a search's study in its storage."""
    return search.name + " and seconds" * multi_objective + " by population" * population


def n_begun(storage: str, name: str) -> int:
    """Return how many trials of a study have begun, or 0 if the study does not exist; creates nothing.

    Raises:
        StudyError: the storage cannot be opened.
    """
    if "://" not in storage and not Path(storage).exists():
        return 0
    opened = open_storage(storage)
    if name not in optuna.get_all_study_names(opened):
        return 0
    return len(_begun(optuna.load_study(study_name=name, storage=opened)))


def open_storage(storage: str) -> BaseStorage:
    """Open a storage, and create it if it does not exist.

    Args:
        storage: the path of a journal file, or the URL of a database such as sqlite:///study.db or
            postgresql://host/name.

    Raises:
        StudyError: the storage cannot be opened.
    """
    try:
        if "://" in storage:
            return _open_database(storage)
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(storage))
    except Exception as error:  # each database driver raises errors of its own
        raise StudyError(f"cannot open the study {without_password(storage)}: {str(error).splitlines()[0]}") from error


def _open_database(url: str) -> RDBStorage:
    """Open a database.  Try again after a failure, because only one of several drivers can create its tables."""
    settings = {"connect_args": {"timeout": LOST_SECONDS}} if url.startswith("sqlite") else None
    for wait in OPEN_AGAIN_SECONDS:
        with suppress(DBAPIError):
            return RDBStorage(url, engine_kwargs=settings)
        time.sleep(wait)
    return RDBStorage(url, engine_kwargs=settings)


def without_password(storage: str) -> str:
    """Return the path or URL of a storage without the user and the password."""
    scheme, mark, rest = storage.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else storage


def _counted(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that take a place: all but the trials that ended without a result and without an error."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state != TrialState.FAIL or ERROR in trial.user_attrs]


def _begun(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that take a place and are no longer in the queue."""
    return [trial for trial in _counted(study) if trial.state != TrialState.WAITING]
