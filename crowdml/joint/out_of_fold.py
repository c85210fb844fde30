"""JointTrainer: trains the networks of a joint method, and makes out-of-fold predictions.

A network memorises the labels of its training items, including the noise.  A method that combines predictions with
annotations therefore predicts each item by a network that was trained on other items.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crowdml.aggregation.aggregator import Aggregation
from crowdml.joint.joint_result import JointResult
from crowdml.learning.learner import Learner
from crowdml.learning.supervision import supervise
from crowdml.learning.task import Task
from crowdml.learning.trainer import Trainer


class JointTrainer:
    """Trains the networks of a joint method on posteriors by one learner, and adds up the costs."""

    def __init__(self, learner: Learner, task: Task) -> None:
        self._learner = learner
        self._trainer = Trainer(task)

    def train(
        self, posterior: NDArray[np.float64], *, model: nn.Module | None = None, items: NDArray[np.int64] | None = None
    ) -> nn.Module:
        """Train a network on a posterior (n_items, n_classes), and return the network.

        The training continues from `model`; None starts from a fresh model.  `items` (n,) are the items to train on, by
        default all items; only then is the test accuracy reported.
        """
        task = self._trainer.task
        given = supervise(posterior, task.n_classes, device=task.device)
        chosen = None if items is None else torch.from_numpy(items)
        return self._trainer.learn(self._learner, given, model=model, items=chosen, evaluate=items is None)

    def predict(self, model: nn.Module, items: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return the probabilities (n, n_classes) that a model predicts for all training items, or for (n,) indices."""
        chosen = None if items is None else torch.from_numpy(items)
        return self._trainer.predict(model, chosen).cpu().numpy().astype(np.float64)

    def predict_out_of_fold(self, posterior: NDArray[np.float64], folds: int) -> NDArray[np.float64]:
        """Return probabilities (n_items, n_classes); each item is predicted by a network trained on the other folds.

        The networks are trained on a posterior (n_items, n_classes).  Every call with the same task and number of folds
        splits the items in the same way.
        """
        fold = np.random.default_rng([self._trainer.task.settings.seed, 1]).permutation(len(posterior)) % folds
        probabilities = np.empty_like(posterior)
        for number in range(folds):
            held_out = fold == number
            model = self.train(posterior, items=np.flatnonzero(~held_out))
            probabilities[held_out] = self.predict(model, np.flatnonzero(held_out))
        return probabilities

    def result(self, aggregation: Aggregation, model: nn.Module) -> JointResult:
        """Return the result with the costs so far."""
        return JointResult.of(aggregation, model, self._trainer)
