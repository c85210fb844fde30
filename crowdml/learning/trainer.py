"""Trainer trains the networks of a task in sequence.  StagedLearner is a learner that may train several times."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor, nn

from crowdml.learning.checkpoint import Checkpoint
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.learner import Learner
from crowdml.learning.loop import train
from crowdml.learning.recipe import Recipe
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task


class Trainer:
    """Trains the networks of a task in sequence, and adds up their costs.

    Each training has its own random draws, which depend on the task's seed and the number of the training.

    If the task has a folder for checkpoints, the state of every training is kept there.  A repeated run with this
    folder loads the finished trainings and continues the interrupted training.  The networks are the same as without an
    interruption.

    Attributes:
        n_trainings: number of finished trainings.
        n_images: training inputs seen, summed over all trainings.
        n_epochs: epochs, summed over all trainings.
        seconds: wall seconds of the trainings, without evaluation.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.n_trainings = self.n_images = self.n_epochs = 0
        self.seconds = 0.0

    def learn(
        self,
        learner: Learner,
        given: Supervision,
        *,
        model: nn.Module | None = None,
        items: Tensor | None = None,
        evaluate: bool = True,
    ) -> nn.Module:
        """Run a learner, which trains one or several networks, and return the trained model.

        Args:
            learner: the method.
            given: supervision of all training items.
            model: model of an earlier `learn` to continue from; None starts from a fresh model.
            items: (n,) indices of the items to train on; by default all.
            evaluate: report the test accuracy.
        """
        run = TrainingRun(self, given, model, items, evaluate)
        return learner.learn(run) if isinstance(learner, StagedLearner) else run.train(learner, model=model)

    def train(
        self,
        learner: Learner,
        given: Supervision,
        *,
        model: nn.Module | None = None,
        items: Tensor | None = None,
        evaluate: bool = True,
        recipe: Recipe | None = None,
    ) -> nn.Module:
        """Train one network by the training loop, and return the trained model.

        The arguments are the arguments of `learn`, and a recipe that replaces the recipe of the task.

        Raises:
            TrainingDivergedError: the loss is not finite.
            CheckpointMismatchError: the checkpoint in the folder belongs to another training.
        """
        task = self.task
        if recipe is not None:
            task = replace(task, settings=replace(task.settings, recipe=recipe))
        trained = train(
            learner,
            task,
            given,
            model=model,
            items=items,
            stream=self.n_trainings,
            first_epoch=self.n_epochs,
            evaluate=evaluate,
            checkpoint=self._checkpoint(learner, task),
        )
        self.n_trainings += 1
        self.n_images += trained.n_images
        self.n_epochs += trained.n_epochs
        self.seconds += trained.seconds
        return trained.model

    def predict(self, model: nn.Module, items: Tensor | None = None) -> Tensor:
        """Return the probabilities (n, n_classes) that a model predicts for all training items, or for (n,) indices."""
        return predict_proba(model, self.task, self.task.inputs, items)

    def _checkpoint(self, learner: Learner, task: Task) -> Checkpoint | None:
        folder, settings = task.observers.checkpoints, task.settings
        if folder is None:
            return None
        text = (
            f"{learner!r} {settings.recipe!r} seed {settings.seed} of {task.n_items} items in {task.n_classes} classes"
        )
        identity = f"{type(learner).__name__} {hashlib.sha256(text.encode()).hexdigest()[:12]}"
        return Checkpoint(folder / f"training-{self.n_trainings:03d}.pt", identity)


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """The trainer of a staged learner, with the arguments of `Trainer.learn`."""

    trainer: Trainer
    given: Supervision
    model: nn.Module | None = None
    items: Tensor | None = None
    evaluate: bool = True

    @property
    def task(self) -> Task:
        """The task of the trainer."""
        return self.trainer.task

    def train(
        self,
        learner: Learner,
        *,
        model: nn.Module | None = None,
        given: Supervision | None = None,
        recipe: Recipe | None = None,
        evaluate: bool | None = None,
    ) -> nn.Module:
        """Train one network on the items of this run, and return the trained model.

        `model` is the model to continue from; None starts from a fresh model.  The other arguments replace the
        supervision and `evaluate` of this run, and the recipe of the task.
        """
        return self.trainer.train(
            learner,
            self.given if given is None else given,
            model=model,
            items=self.items,
            evaluate=self.evaluate if evaluate is None else evaluate,
            recipe=recipe,
        )

    @property
    def indices(self) -> Tensor:
        """(n,) int64 indices of the items to train on, on the device of the task."""
        return self.task.indices(self.items)

    def batches(self) -> Iterator[Tensor]:
        """Yield the inputs (n, ...) of the items of this run batch by batch, not augmented."""
        inputs = self.task.inputs
        return (views[0] for views in inputs.batches(self.indices.split(inputs.predict_batch)))

    def predict(self, model: nn.Module) -> Tensor:
        """Return the probabilities (n, n_classes) that a model predicts for the items of this run."""
        return self.trainer.predict(model, self.items)


@dataclass(frozen=True)
class StagedLearner(Learner):
    """A learner that trains several times, or has steps before or after its training."""

    def learn(self, run: TrainingRun) -> nn.Module:
        """Carry out all stages, and return the trained model."""
        raise NotImplementedError
