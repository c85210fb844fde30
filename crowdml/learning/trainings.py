"""A course of trainings: what a method that trains several networks in a row is given, and what they cost."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from torch import Tensor, nn

from crowdml.learning.checkpoint import Checkpoint
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.learner import Learner, Supervision, Task
from crowdml.learning.loop import train
from crowdml.learning.recipe import Recipe


class Course:
    """Trains networks of one task one after the other, each with random draws of its own, and counts the costs.

    Where the task has a folder for checkpoints, the state of every training is kept there.  Run again, the course takes
    finished trainings from the folder and goes on with the one that was interrupted, and ends as it would have.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.n_trainings = self.n_images = self.n_epochs = 0
        self.seconds = 0.0

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
        """One training of the loop; see `train`.

        Args:
            learner, given, model, items: as there.
            evaluate: report the test accuracy.
            recipe: instead of the task's.
        """
        task = self.task if recipe is None else replace(self.task, recipe=recipe)
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
        """(n, n_classes) what a network predicts for the training items, or for some of them."""
        return predict_proba(model, self.task, self.task.inputs, items)

    def _checkpoint(self, learner: Learner, task: Task) -> Checkpoint | None:
        if task.checkpoints is None:
            return None
        text = f"{learner!r} {task.recipe!r} seed {task.seed} of {task.n_items} items in {task.n_classes} classes"
        identity = f"{type(learner).__name__} {hashlib.sha256(text.encode()).hexdigest()[:12]}"
        return Checkpoint(task.checkpoints / f"training-{self.n_trainings:03d}.pt", identity)
