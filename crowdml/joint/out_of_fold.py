"""Networks and the labels they learn from: a result of both, and what the methods share that train to find the labels.

A network predicts for the items that it was trained on what it memorised, noise included.  So predictions that are to
speak beside the workers come from networks trained on the other folds.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crowdml.aggregation.aggregator import Aggregation
from crowdml.joint.result import JointResult
from crowdml.learning.learner import Learner
from crowdml.learning.supervision import supervise
from crowdml.learning.task import Task
from crowdml.learning.trainer import Trainer


class JointTrainer:
    """Trains the networks of one run on posteriors and counts what they cost."""

    def __init__(self, learner: Learner, task: Task) -> None:
        self._learner = learner
        self._trainer = Trainer(task)

    def train(
        self, posterior: NDArray[np.float64], *, model: nn.Module | None = None, items: NDArray[np.int64] | None = None
    ) -> nn.Module:
        """A network trained on the labels; only one trained on all items reports its test accuracy.

        Args:
            posterior: (n_items, n_classes).
            model: go on from this one instead of a fresh one.
            items: (n,) indices of the items to train on; by default all.
        """
        task = self._trainer.task
        given = supervise(posterior, task.n_classes, device=task.device)
        chosen = None if items is None else torch.from_numpy(items)
        return self._trainer.learn(self._learner, given, model=model, items=chosen, evaluate=items is None)

    def predict(self, model: nn.Module, items: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """(n, n_classes) what a network predicts for the training items, or for some of them."""
        chosen = None if items is None else torch.from_numpy(items)
        return self._trainer.predict(model, chosen).cpu().numpy().astype(np.float64)

    def predict_out_of_fold(self, posterior: NDArray[np.float64], folds: int) -> NDArray[np.float64]:
        """(n_items, n_classes) what networks predict for each item that were trained on the other folds.

        Args:
            posterior: (n_items, n_classes) labels to train on.
            folds: into how many parts the items are split, the same for every call of a task.
        """
        fold = np.random.default_rng([self._trainer.task.settings.seed, 1]).permutation(len(posterior)) % folds
        probabilities = np.empty_like(posterior)
        for number in range(folds):
            held_out = fold == number
            model = self.train(posterior, items=np.flatnonzero(~held_out))
            probabilities[held_out] = self.predict(model, np.flatnonzero(held_out))
        return probabilities

    def result(self, aggregation: Aggregation, model: nn.Module) -> JointResult:
        """The result, with the costs so far."""
        return JointResult.of(aggregation, model, self._trainer)
