"""Population-based training: networks train side by side, the worst go on from the best with other options.

Jaderberg et al., arXiv 1711.09846 (2017), by Ray Tune's scheduler.  Only real-valued options of the learner and of the
recipe can change in the middle of a training.  What comes out is a course of options rather than one point, so the
value of a member is not that of a training with its last options from the start, and its study is apart.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search.basic_variant import BasicVariantGenerator

from crowdml import methods
from crowdml.aggregation.aggregator import vote_shares
from crowdml.learning.checkpoint import Checkpoint
from crowdml.learning.evaluate import accuracies
from crowdml.learning.learner import Learner, Supervision, Task, supervise
from crowdml.learning.loop import train
from crowdml.learning.optimise import make_optimizer
from crowdml.learning.task import make_task
from crowdml.methods.search_spaces import method_space
from crowdml.support.search_space import Either, Real, Value
from sweeps.tuning.objective import Data, Fitting, fitting
from sweeps.tuning.search import OF_RECIPE, Search
from sweeps.tuning.search_progress import TuningProgress
from sweeps.tuning.study import BY_SEED, COURSE, ERROR, POINT, TOOK, SharedStudy

N_SEGMENTS = 10
"""How often the members are compared."""
_VALUE, _STATE = "value", "state.pt"


class PopulationError(ValueError):
    """A search that population-based training cannot do."""


def run_population(shared: SharedStudy, data: Data, progress: TuningProgress, resources: Mapping[str, float]) -> None:
    """Train a population on the connected Ray cluster, as large as the study has places left.

    A population that is interrupted starts anew.

    Args:
        shared: the study.
        data: the data set.
        progress: is told of every member that is done.
        resources: of a member, "CPU" and "GPU".

    Raises:
        PopulationError: the method does more than one plain training, several seeds are asked for, nothing can change,
            or the cluster has several machines.
    """
    search = shared.search
    space = population_space(search)
    if sum(node["Alive"] for node in ray.nodes()) > 1:
        raise PopulationError("a population hands its networks on through the disk of one machine; use --address local")
    ranges = {
        name: (tune.loguniform if kind.log else tune.uniform)(kind.low, kind.high) for name, kind in space.items()
    }
    start = clipped(space, search.defaults())
    trainable = tune.with_parameters(Member, search=search, data=data, n_threads=int(resources["CPU"]))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crowdml-tune-") as storage, progress:
        results = tune.Tuner(
            tune.with_resources(trainable, dict(resources)),
            param_space=ranges,
            tune_config=tune.TuneConfig(
                num_samples=shared.n_trials - shared.n_before,
                search_alg=BasicVariantGenerator(points_to_evaluate=[start], random_state=search.cell.seed),
                scheduler=PopulationBasedTraining(
                    time_attr="training_iteration",
                    metric=_VALUE,
                    mode="max",
                    perturbation_interval=1,
                    hyperparam_mutations=dict(ranges),
                    custom_explore_fn=lambda point: clipped(space, point),
                ),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"member-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name="population", storage_path=storage, verbose=0, callbacks=[_CountSegments(progress)]
            ),
        ).fit()
        for result in results:
            _record(shared, space, result, time.monotonic() - began)


def population_space(search: Search) -> dict[str, Real]:
    """What can change in the middle of a training: real-valued options of the learner and of the recipe.

    Raises:
        PopulationError: the method does more than one plain training, several seeds are asked for, or nothing can
            change.
    """
    if len(search.seeds) > 1:
        raise PopulationError("--scheduler pbt trains a population of one seed; name one in --seeds")
    if search.cell.network is None:
        raise PopulationError(f"--scheduler pbt trains networks, and {search.cell.method} is searched without one")
    learner = _learner(search, {})
    if type(learner).learn is not Learner.learn:
        raise PopulationError(f"{search.cell.method} does more than one plain training; pbt changes options within one")
    own = method_space(search.cell.method).keys() & {*learner.SPACE, *(f"learner.{name}" for name in learner.SPACE)}
    chosen = {name: kind for name, kind in search.space.items() if name in own or name.startswith(OF_RECIPE)}
    numbers = {name: kind.other if isinstance(kind, Either) else kind for name, kind in chosen.items()}
    space = {name: kind for name, kind in numbers.items() if isinstance(kind, Real)}
    if not space:
        raise PopulationError(f"{search.cell.method} has no real-valued option to change; add --recipe")
    return space


def clipped(space: Mapping[str, Real], point: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a point, each brought into its range."""
    return {name: min(max(float(point[name]), kind.low), kind.high) for name, kind in space.items()}


class Member(tune.Trainable):
    """One network of the population; a step is a segment of its training."""

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, config: dict[str, Any], search: Search, data: Data, n_threads: int
    ) -> None:
        """Called once a process."""
        torch.set_num_threads(max(1, n_threads))
        self._search, self._data = search, data
        self._folder = tempfile.TemporaryDirectory(prefix="crowdml-member-")
        self._fitted: Fitting = fitting(search, search.cell, data)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Another member, or the same with other options; `load_checkpoint` brings its network."""
        self._point = {**self._search.defaults(), **new_config}
        self._cell = self._search.cell_at(self._point, self._search.seeds[0])
        self._checkpoint = Checkpoint(Path(self._folder.name, _STATE), identity=self._search.name, every=0)
        self._checkpoint.path.unlink(missing_ok=True)
        self._course: list[tuple[int, dict[str, Value], float]] = []
        return True

    def step(self) -> dict[str, Any]:
        """Train for a segment, and look at the items held out."""
        task, given, learner = self._training()
        self._take_options(task, given, learner)
        segment = math.ceil(task.recipe.epochs / N_SEGMENTS)
        n_epochs = 0

        def count(step: int, metric: str, value: float) -> None:
            nonlocal n_epochs
            n_epochs += metric == "train_loss"

        def pause(stage: int, done: float) -> None:
            if n_epochs >= segment:  # the state is written; the one step since is taken again
                raise _PausedError

        try:
            watched = replace(task, report=count, tick=pause)
            train(learner, watched, given, evaluate=False, checkpoint=self._checkpoint)
        except _PausedError:
            pass
        state = self._checkpoint.read(task.device)
        assert state is not None
        model = learner.build(task, given).to(task.device)
        model.load_state_dict(state["model"])
        value = accuracies(model, task)["test_accuracy"]
        self._course.append((state["epoch"], self._point, value))
        return {_VALUE: value, COURSE: self._course, "done": state["done"]}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The training's state: tensors and plain values, as the training loop writes it."""
        content = {"training": self._checkpoint.read(torch.device("cpu")), "course": self._course}
        torch.save(content, Path(checkpoint_dir, _STATE))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from a member's state; only tensors and plain values are read."""
        content = torch.load(Path(checkpoint, _STATE), map_location="cpu", weights_only=True)
        self._checkpoint.write(content["training"])
        self._course = list(content["course"])

    def cleanup(self) -> None:
        """The process ends."""
        self._folder.cleanup()

    def _training(self) -> tuple[Task, Supervision, Learner]:
        cell, fitted = self._cell, self._fitted
        assert cell.training is not None
        task = make_task(
            fitted.items,
            n_classes=fitted.crowd.n_classes,
            network=cell.training.network,
            recipe=cell.training.recipe,
            seed=cell.seed,
            truth=fitted.truth,
        )
        method = methods.resolve(cell.method, dict(cell.method_options))
        if method.learner is None:
            given = supervise(vote_shares(fitted.crowd), task.n_classes, crowd=fitted.crowd, device=task.device)
            return task, given, method.source.learner
        found = method.source.fit(fitted.crowd)
        given = supervise(found.posterior, task.n_classes, labels=found.labels, device=task.device)
        return task, given, method.learner

    def _take_options(self, task: Task, given: Supervision, learner: Learner) -> None:
        """Bring the recipe's options of this member into the state that it goes on from."""
        state = self._checkpoint.read(task.device)
        if state is None:
            return
        groups = make_optimizer(task.recipe, learner.parameter_groups(learner.build(task, given), task.recipe))
        for kept, fresh in zip(state["optimizer"]["param_groups"], groups.param_groups, strict=True):
            fallen = kept["lr"] / kept["initial_lr"]  # what the schedule has made of the learning rate so far
            settings = {name: value for name, value in fresh.items() if name != "params"}
            kept.update(settings, initial_lr=fresh["lr"], lr=fresh["lr"] * fallen)
        state["schedule"]["base_lrs"] = [group["initial_lr"] for group in state["optimizer"]["param_groups"]]
        self._checkpoint.write(state)


class _PausedError(Exception):
    """The segment is over."""


class _CountSegments(tune.Callback):
    """Feeds the progress line, in the driver."""

    def __init__(self, progress: TuningProgress) -> None:
        self._progress = progress
        self._n_done = 0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks, but a population never goes on from Tune's state."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A member has trained for a segment."""
        self._n_done += 1
        self._progress.update(f"{self._n_done} segments of {len(trials)} members trained")


def _learner(search: Search, point: Mapping[str, Value]) -> Learner:
    cell = search.cell_at(point, search.seeds[0])
    method = methods.resolve(cell.method, dict(cell.method_options))
    if method.learner is None:
        return method.source.learner
    if method.source_is_joint:
        raise PopulationError(f"{cell.method} does more than one plain training; pbt changes options within one")
    return method.learner


def _record(shared: SharedStudy, space: Mapping[str, Real], result: Any, seconds: float) -> None:
    """A member becomes a trial of the study, its point the last of its options."""
    if result.error is not None or result.config is None:
        attributes = {POINT: shared.search.defaults(), ERROR: str(result.error)}
        shared.add(create_trial(state=TrialState.FAIL, user_attrs=attributes))
        return
    value = float(result.metrics[_VALUE])
    last = {name: result.config[name] for name in space}
    shared.add(
        create_trial(
            value=value,
            params=last,
            distributions={name: FloatDistribution(kind.low, kind.high, log=kind.log) for name, kind in space.items()},
            user_attrs={
                POINT: {**shared.search.defaults(), **last},
                TOOK: seconds,
                BY_SEED: [value],
                COURSE: result.metrics[COURSE],
            },
            intermediate_values={epoch: reached for epoch, _, reached in result.metrics[COURSE]},
        )
    )
