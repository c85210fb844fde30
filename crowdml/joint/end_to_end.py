"""EndToEnd: makes a joint method of a crowd learner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from crowdml.aggregation.aggregator import TieRule, vote_shares
from crowdml.aggregation.inference.confusion import FLOOR, infer_posterior
from crowdml.aggregation.inference.prior_and_gold import keep_gold
from crowdml.joint.joint_result import JointResult
from crowdml.labels import CrowdLabels
from crowdml.learning.crowd.crowd_learner import CrowdLearner
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.learner import Learner
from crowdml.learning.supervision import supervise
from crowdml.learning.task import Task
from crowdml.learning.trainer import Trainer


@dataclass(frozen=True)
class EndToEnd(TieRule):
    """Train a crowd learner, and infer the labels from its network and its workers' matrices.

    Args:
        ties, seed: see TieRule.
        learner: the crowd learner.
    """

    learner: CrowdLearner

    def fit(self, crowd: CrowdLabels, task: Task, learner: Learner | None = None) -> JointResult:
        """Train the crowd learner on all annotations, and infer the labels.

        The network's prediction is the prior of each item, and the workers' matrices give the likelihood of its
        annotations.  Items of known class keep their class in the result.  In the training, a known class only affects
        the vote shares that the learner starts from.  `learner` is not used; all joint methods have this argument.

        Raises:
            ValueError: the crowd has worker histories, whose items have no inputs for the network.
        """
        if crowd.history is not None:
            raise ValueError(
                "a network cannot learn from worker histories, because their items have no inputs; use an aggregator"
            )
        trainer = Trainer(task)
        given = supervise(vote_shares(crowd), task.n_classes, crowd=crowd, device=task.device)
        model = trainer.learn(self.learner, given)
        predicted = predict_proba(model, task, task.inputs).cpu().numpy().astype(np.float64)
        model.eval()
        with torch.inference_mode():
            confusion = self.learner.confusion(model).double().cpu().numpy()
        posterior, _ = infer_posterior(crowd, confusion, np.maximum(predicted, FLOOR))
        aggregation = self.conclude(
            crowd, keep_gold(crowd, posterior), predicted, confusion=confusion, n_iter=trainer.n_epochs
        )
        return JointResult.of(aggregation, model, trainer)
