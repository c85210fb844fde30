"""A study that several drivers share: who computes which trial, how many there are, and what is known already.

Every trial that is computed stands in the storage before it begins.  Its driver gives signs of life there; a trial
whose driver gave none for a while is given up and its place is free again.  Signs of life are counted and no times
compared, so clocks may differ or jump.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from crowdml.support.search_space import Value
from sweeps.tuning.samplers import Sampler, make_sampler
from sweeps.tuning.search import Search
from sweeps.tuning.storage import open_storage

BEAT_SECONDS, LOST_SECONDS = 5.0, 30.0
ACCURACY, SECONDS = "accuracy", "seconds"
DONE = (TrialState.COMPLETE, TrialState.PRUNED)

# What a trial says of itself in the storage.
POINT, ERROR, TOOK, BY_SEED, COPY_OF, COURSE, DRIVER, _BEAT = (
    "point", "error", "seconds", "by_seed", "copy_of", "course", "driver", "beat",
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A trial that this driver computes.

    Args:
        number: of the trial.
        point: option -> value.
    """

    number: int
    point: dict[str, Value]


class SharedStudy:
    """The trials of one search.

    Args:
        storage: a file for a journal, which may lie on NFS, or the URL of a database.
        search: what is searched.
        n_trials: how many trials there are to be, of all drivers and runs together.
        sampler: where the next one is.
        several: whether the seconds count besides the value.
        population: whether the trials are members of a population, whose values are not those of their points.
        seed: of the search.

    Raises:
        StudyError: the storage cannot be opened.
    """

    def __init__(
        self,
        storage: str,
        search: Search,
        *,
        n_trials: int,
        sampler: Sampler = "tpe",
        several: bool = False,
        population: bool = False,
        seed: int = 0,
    ) -> None:
        if several and sampler == "cmaes":
            raise ValueError("--sampler cmaes has one objective; with --multi-objective take tpe or random")
        self.search, self.n_trials, self.several = search, n_trials, several
        self._defaults = search.defaults()
        self.study = optuna.create_study(
            storage=open_storage(storage),
            study_name=study_name(search, several=several, population=population),
            directions=["maximize", "minimize"] if several else ["maximize"],
            sampler=make_sampler(sampler, search.space, self._defaults, seed),
            load_if_exists=True,
        )
        self.n_before = len(_counted(self.study, but_waiting=True))
        self._mine: dict[int, Trial] = {}
        self._seen: dict[int, tuple[Any, float]] = {}
        if not population and not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(self._parameters(self._defaults))  # what nobody tuned is always among the trials

    # ---------------------------------------------------------------- what there is

    def trials(self) -> list[FrozenTrial]:
        """Those that are done or failed, of all drivers."""
        return [trial for trial in _counted(self.study) if trial.state.is_finished()]

    def n_running(self) -> int:
        """Trials that some driver computes now."""
        return sum(trial.state == TrialState.RUNNING for trial in _counted(self.study))

    def best(self) -> FrozenTrial | None:
        """The trial of the highest value, the first of equal ones."""
        complete = [trial for trial in _counted(self.study) if trial.state == TrialState.COMPLETE]
        return max(complete, key=lambda trial: (trial.values[0], -trial.number), default=None)

    def value_of(self, point: dict[str, Value]) -> float | None:
        """What a point is worth, if a trial of it has run to its end."""
        for trial in _counted(self.study):
            if trial.state == TrialState.COMPLETE and trial.user_attrs[POINT] == point:
                return trial.values[0]
        return None

    # ---------------------------------------------------------------- what is to do

    def take(self) -> Claim | None:
        """A trial for this driver to compute; None where there is none, see `more_may_come`.

        A point that the study knows already is not computed again: its trial takes what the earlier one gave.
        """
        while len(_counted(self.study, but_waiting=True)) < self.n_trials:
            trial = self.study.ask()
            point = {name: kind.suggest(trial, name) for name, kind in self.search.space.items()}
            # Another driver may have taken the last place meanwhile; the numbers of trials tell who was first.
            if sum(other.number < trial.number for other in _counted(self.study)) >= self.n_trials:
                self.study.tell(trial, state=TrialState.FAIL)
                return None
            trial.set_user_attr(POINT, point)
            trial.set_user_attr(DRIVER, f"{socket.gethostname()}:{os.getpid()}")
            known = self._known(trial.number, point)
            if known is None:
                self._mine[trial.number] = trial
                return Claim(trial.number, point)
            if known.state == TrialState.RUNNING:
                self.study.tell(trial, state=TrialState.FAIL)  # its place stays free until that one is done
                return None
            self._copy(known, trial)
        return None

    def more_may_come(self) -> bool:
        """Whether trials run, so that `take` may find one later; gives up those whose driver is lost."""
        running = [trial for trial in _counted(self.study) if trial.state == TrialState.RUNNING]
        now = time.monotonic()
        for trial in running:
            beat = trial.user_attrs.get(_BEAT)
            last, since = self._seen.get(trial.number, (None, now))
            if trial.number in self._mine or trial.number not in self._seen or beat != last:
                self._seen[trial.number] = (beat, now)
            elif now - since >= LOST_SECONDS:
                self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        return bool(running)

    # ---------------------------------------------------------------- what a trial gave

    def trial(self, number: int) -> Trial:
        """A trial of this driver that runs."""
        return self._mine[number]

    def report(self, number: int, step: int, value: float) -> None:
        """The value of a running trial so far; only where nothing but the value counts."""
        if not self.several:
            with _unless_given_up():
                self._mine[number].report(value, step)

    def finish(self, number: int, value: float, seconds: float, by_seed: Sequence[float]) -> None:
        """A trial is done."""
        self._note(number, {TOOK: seconds, BY_SEED: list(by_seed)})
        self._tell(number, [value, seconds] if self.several else [value], TrialState.COMPLETE)

    def stop(self, number: int, seconds: float) -> None:
        """A trial was stopped early, for others did better."""
        self._note(number, {TOOK: seconds})
        self._tell(number, None, TrialState.PRUNED)

    def fail(self, number: int, error: str) -> None:
        """A trial ended with an error, and is not tried again."""
        self._note(number, {ERROR: error})
        self._tell(number, None, TrialState.FAIL)

    def add(self, trial: FrozenTrial) -> None:
        """A trial that was computed without being taken first, as a member of a population is."""
        self.study.add_trial(trial)

    def release(self) -> None:
        """Give back the places of what this driver has begun and will not finish."""
        for number in list(self._mine):
            self._tell(number, None, TrialState.FAIL)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """While this lasts, the trials of this driver give signs of life; those it leaves unfinished are released."""
        over = threading.Event()
        thread = threading.Thread(target=self._beat, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.release()

    # ---------------------------------------------------------------- inside

    def _known(self, number: int, point: dict[str, Value]) -> FrozenTrial | None:
        """Another trial of the same point: one that is done, or one before this that runs."""
        for trial in _counted(self.study):
            same = trial.number != number and trial.user_attrs.get(POINT) == point
            if same and (trial.state.is_finished() or trial.number < number):
                return trial
        return None

    def _copy(self, known: FrozenTrial, trial: Trial) -> None:
        for name in (TOOK, BY_SEED, ERROR):
            if name in known.user_attrs:
                trial.set_user_attr(name, known.user_attrs[name])
        trial.set_user_attr(COPY_OF, known.user_attrs.get(COPY_OF, known.number))
        if known.state == TrialState.PRUNED:
            for step, value in known.intermediate_values.items():
                trial.report(value, step)
        values = known.values if known.state == TrialState.COMPLETE else None
        self.study.tell(trial, values, state=known.state)

    def _note(self, number: int, attributes: Mapping[str, Any]) -> None:
        with _unless_given_up():
            for name, value in attributes.items():
                self._mine[number].set_user_attr(name, value)

    def _tell(self, number: int, values: list[float] | None, state: TrialState) -> None:
        self.study.tell(self._mine.pop(number), values, state=state, skip_if_finished=True)

    def _beat(self, over: threading.Event) -> None:
        beat = 0
        while not over.wait(BEAT_SECONDS):
            beat += 1
            for trial in list(self._mine.values()):
                with _unless_given_up():
                    trial.set_user_attr(_BEAT, beat)

    def _parameters(self, point: dict[str, Value]) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for name, kind in self.search.space.items():
            found |= kind.parameters(name, point[name])
        return found


def study_name(search: Search, *, several: bool = False, population: bool = False) -> str:
    """What the study is called in its storage."""
    return search.name + " and seconds" * several + " by population" * population


def n_trials_of(storage: str, name: str) -> int:
    """How many trials a study has that take a place, without making it where it is not there yet.

    Raises:
        StudyError: the storage cannot be opened.
    """
    if "://" not in storage and not Path(storage).exists():
        return 0
    opened = open_storage(storage)
    if name not in optuna.get_all_study_names(opened):
        return 0
    return len(_counted(optuna.load_study(study_name=name, storage=opened), but_waiting=True))


@contextmanager
def _unless_given_up() -> Iterator[None]:
    """What is said of a trial that has ended is not heard: another driver gave it up, and its place is taken."""
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        yield


def _counted(study: optuna.Study, *, but_waiting: bool = False) -> list[FrozenTrial]:
    """The trials that take a place: all but those that ended without a result and without an error of theirs."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if not (trial.state == TrialState.FAIL and ERROR not in trial.user_attrs)
        and not (but_waiting and trial.state == TrialState.WAITING)
    ]
