"""EndToEnd: a learner of annotations as a method that fits a whole crowd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from crowdml.aggregation.aggregator import TieRule, vote_shares
from crowdml.aggregation.inference.confusion import FLOOR, infer_posterior
from crowdml.aggregation.inference.prior_and_gold import keep_gold
from crowdml.joint.result import JointResult
from crowdml.labels import CrowdLabels
from crowdml.learning.crowd.crowd_learner import CrowdLearner
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.learner import Learner, Task, supervise
from crowdml.learning.trainings import Course


@dataclass(frozen=True)
class EndToEnd(TieRule):
    """Fits a crowd with a crowd learner, and infers the labels from its network and its workers' matrices.

    Args:
        learner: what trains.
    """

    learner: CrowdLearner

    def fit(self, crowd: CrowdLabels, task: Task, learner: Learner | None = None) -> JointResult:
        """Train, then take the network's predictions as prior of each item and the workers' matrices as likelihood.

        Items of known class keep it; in the training they count through the majority vote that a learner starts from,
        and otherwise by what the workers said of them.

        Args:
            crowd: the annotations.
            task: the inputs and settings.
            learner: not used; a joint method is given one.

        Raises:
            ValueError: the crowd has worker histories, which no network can have seen.
        """
        if crowd.history is not None:
            raise ValueError("worker histories go with aggregators; a network cannot learn from answers to other items")
        course = Course(task)
        shares = vote_shares(crowd)
        given = supervise(shares, task.n_classes, crowd=crowd, device=task.device)
        model = self.learner.learn(course, given)
        predicted = predict_proba(model, task, task.inputs).cpu().numpy().astype(np.float64)
        model.eval()
        with torch.inference_mode():
            confusion = self.learner.confusion(model).double().cpu().numpy()
        posterior, _ = infer_posterior(crowd, confusion, np.maximum(predicted, FLOOR))
        aggregation = self.conclude(
            crowd, keep_gold(crowd, posterior), predicted, confusion=confusion, n_iter=course.n_epochs
        )
        return JointResult(aggregation, model, course.n_trainings, course.n_images, course.seconds)
