"""Population-based training: networks train in parallel, and the worst networks copy the best with other options.

Jaderberg et al., arXiv 1711.09846 (2017), with Ray Tune's scheduler.  Only real-valued options of the learner and of
the recipe can change during a training.  The result is a schedule of options, not one point: the value of a member is
not the value of a training that has the member's last options from the start.  So a population has a study of its own.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from optuna.trial import TrialState, create_trial
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search.basic_variant import BasicVariantGenerator

from crowdml import methods
from crowdml.aggregation.aggregator import vote_shares
from crowdml.learning.checkpoint import Checkpoint
from crowdml.learning.evaluate import accuracies
from crowdml.learning.learner import Learner
from crowdml.learning.loop import train
from crowdml.learning.observers import Observers
from crowdml.learning.optimise import make_optimizer
from crowdml.learning.supervision import Supervision, supervise
from crowdml.learning.task import Task
from crowdml.learning.trainer import StagedLearner
from crowdml.methods.configure import Method
from crowdml.methods.search_spaces import method_space
from crowdml.support.search_space import Either, Float, Value
from sweeps.cluster.fit import fit_trials
from sweeps.tuning.objective import DataSet, split_for_validation, validation_task
from sweeps.tuning.samplers import distribution
from sweeps.tuning.search import RECIPE_PREFIX, Search
from sweeps.tuning.search_progress import SearchProgress
from sweeps.tuning.study import BY_SEED, ERROR, POINT, SECONDS, SEGMENTS, SharedStudy

N_SEGMENTS = 10
"""Number of segments of a training; members are compared after each segment."""
_VALUE, _STATE_FILE = "value", "state.pt"


class PopulationError(ValueError):
    """Population-based training does not support the search or the cluster."""


def run_population(study: SharedStudy, data: DataSet, progress: SearchProgress, resources: Mapping[str, float]) -> None:
    """Train a population on the connected Ray cluster, with one member per trial that the study has left.

    Each member trains on the whole data set with the resources "CPU" and "GPU".  A population that is interrupted
    starts again from the beginning.

    Raises:
        PopulationError: the cluster has several machines, or `population_space` does not support the search.
    """
    search = study.search
    space = population_space(search)
    if sum(node["Alive"] for node in ray.nodes()) > 1:
        raise PopulationError("a population shares networks on the disk of one machine; use --address local")
    ranges = {
        name: (tune.loguniform if kind.log else tune.uniform)(kind.low, kind.high) for name, kind in space.items()
    }
    defaults = clipped(space, search.defaults())
    trainable = tune.with_parameters(Member, search=search, data=data, n_threads=int(resources["CPU"]))
    start = time.monotonic()
    with progress:
        results = fit_trials(
            tune.with_resources(trainable, dict(resources)),
            param_space=ranges,
            tune_config=tune.TuneConfig(
                num_samples=study.n_left(),
                search_alg=BasicVariantGenerator(points_to_evaluate=[defaults], random_state=search.cell.seed),
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
            run_config=tune.RunConfig(name="population", callbacks=[_CountSegments(progress)]),
        )
        for result in results:
            _add_trial(study, space, result, time.monotonic() - start)


def population_space(search: Search) -> dict[str, Float]:
    """Return the options that can change during a training: real-valued options of the learner and of the recipe.

    Raises:
        PopulationError: the method does more than one plain training, there are several seeds, or no option can change.
    """
    cell = search.cell
    if len(search.seeds) > 1:
        raise PopulationError("--scheduler pbt trains a population of one seed; give one seed in --seeds")
    if cell.training is None:
        raise PopulationError(f"--scheduler pbt trains networks, and {cell.method} is searched without a network")
    method = methods.resolve(cell.method)
    learner = _learner(method)
    if isinstance(learner, StagedLearner) or (method.learner is not None and method.source_is_joint):
        raise PopulationError(f"{cell.method} does more than one plain training; pbt changes options within one")
    of_learner = {*learner.SPACE, *(f"learner.{name}" for name in learner.SPACE)} & method_space(cell.method).keys()
    chosen = {name: kind for name, kind in search.space.items() if name in of_learner or name.startswith(RECIPE_PREFIX)}
    numbers = {name: kind.other if isinstance(kind, Either) else kind for name, kind in chosen.items()}
    space = {name: kind for name, kind in numbers.items() if isinstance(kind, Float)}
    if not space:
        raise PopulationError(f"{cell.method} has no real-valued option to change; add --recipe")
    return space


def clipped(space: Mapping[str, Float], point: Mapping[str, Any]) -> dict[str, float]:
    """Return the real-valued options of a point, each clipped to its range."""
    return {name: min(max(float(point[name]), kind.low), kind.high) for name, kind in space.items()}


class Member(tune.Trainable):
    """One network of the population; each step trains one segment."""

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, config: dict[str, Any], search: Search, data: DataSet, n_threads: int
    ) -> None:
        """Prepare the process; Tune calls this once per process."""
        torch.set_num_threads(max(1, n_threads))
        self._search = search
        self._folder = tempfile.TemporaryDirectory(prefix="crowdml-member-")
        self._split = split_for_validation(search, search.cell, data)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another member, or change the options of a member, whose network `load_checkpoint` then loads."""
        self._point = {**self._search.defaults(), **new_config}
        self._cell = self._search.cell_at(self._point, self._search.seeds[0])
        self._checkpoint = Checkpoint(Path(self._folder.name, _STATE_FILE), identity=self._search.name, every=0)
        self._checkpoint.path.unlink(missing_ok=True)
        self._segments: list[tuple[int, dict[str, Value], float]] = []
        return True

    def step(self) -> dict[str, Any]:
        """Train one segment, and return the validation accuracy."""
        task, given, learner = self._training()
        self._apply_options(task, given, learner)
        segment = math.ceil(task.settings.recipe.epochs / N_SEGMENTS)
        n_epochs = 0

        def count(step: int, metric: str, value: float) -> None:
            nonlocal n_epochs
            n_epochs += metric == "train_loss"

        def pause(training: int, done: float) -> None:
            if n_epochs >= segment:  # the checkpoint is written; the next segment repeats the one step since then
                raise _PausedError

        with suppress(_PausedError):
            watched = replace(task, observers=Observers(report=count, tick=pause))
            train(learner, watched, given, evaluate=False, checkpoint=self._checkpoint)
        state = self._checkpoint.read(task.device)
        assert state is not None
        model = learner.build(task, given).to(task.device)
        model.load_state_dict(state["model"])
        value = accuracies(model, task)["test_accuracy"]
        self._segments.append((state["epoch"], self._point, value))
        return {_VALUE: value, SEGMENTS: self._segments, "done": state["done"]}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save the training loop's state, which holds only tensors and plain values."""
        content = {"training": self._checkpoint.read(torch.device("cpu")), "segments": self._segments}
        torch.save(content, Path(checkpoint_dir, _STATE_FILE))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load the training loop's state; nothing but tensors and plain values is read."""
        content = torch.load(Path(checkpoint, _STATE_FILE), map_location="cpu", weights_only=True)
        self._checkpoint.write(content["training"])
        self._segments = list(content["segments"])

    def cleanup(self) -> None:
        """Delete the temporary folder when the process ends."""
        self._folder.cleanup()

    def _training(self) -> tuple[Task, Supervision, Learner]:
        crowd, task = self._split.crowd, validation_task(self._split, self._cell)
        method = methods.resolve(self._cell.method, dict(self._cell.method_options))
        if method.learner is None:
            given = supervise(vote_shares(crowd), task.n_classes, crowd=crowd, device=task.device)
        else:
            labels = method.source.fit(crowd)
            given = supervise(labels.posterior, task.n_classes, labels=labels.labels, device=task.device)
        return task, given, _learner(method)

    def _apply_options(self, task: Task, given: Supervision, learner: Learner) -> None:
        """Write this member's recipe options into the checkpoint from which the training continues."""
        state = self._checkpoint.read(task.device)
        if state is None:
            return
        recipe = task.settings.recipe
        optimizer = make_optimizer(recipe, learner.parameter_groups(learner.build(task, given), recipe))
        for kept, fresh in zip(state["optimizer"]["param_groups"], optimizer.param_groups, strict=True):
            decay = kept["lr"] / kept["initial_lr"]  # the schedule's factor so far
            settings = {name: value for name, value in fresh.items() if name != "params"}
            kept.update(settings, initial_lr=fresh["lr"], lr=fresh["lr"] * decay)
        state["schedule"]["base_lrs"] = [group["initial_lr"] for group in state["optimizer"]["param_groups"]]
        self._checkpoint.write(state)


class _PausedError(Exception):
    pass


class _CountSegments(tune.Callback):
    def __init__(self, progress: SearchProgress) -> None:
        self._progress = progress
        self._n_done = 0

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks, but a population never resumes from Tune's state

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._n_done += 1
        self._progress.detail = f"{self._n_done} segments of {len(trials)} members trained"
        self._progress.update()


def _learner(method: Method) -> Learner:
    return method.source.learner if method.learner is None else method.learner


def _add_trial(study: SharedStudy, space: Mapping[str, Float], result: Any, seconds: float) -> None:
    """Add a member to the study as a trial; the member's last options are the trial's point."""
    if result.error is not None or result.config is None:
        attributes = {POINT: study.search.defaults(), ERROR: str(result.error)}
        study.optuna_study.add_trial(create_trial(state=TrialState.FAIL, user_attrs=attributes))
        return
    value = float(result.metrics[_VALUE])
    last = {name: result.config[name] for name in space}
    study.optuna_study.add_trial(
        create_trial(
            value=value,
            params=last,
            distributions={name: distribution(kind) for name, kind in space.items()},
            user_attrs={
                POINT: {**study.search.defaults(), **last},
                SECONDS: seconds,
                BY_SEED: [value],
                SEGMENTS: result.metrics[SEGMENTS],
            },
            intermediate_values={epoch: of_segment for epoch, _, of_segment in result.metrics[SEGMENTS]},
        )
    )
