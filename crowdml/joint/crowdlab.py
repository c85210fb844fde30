"""CROWDLAB as a joint method: out-of-fold networks help to infer the labels, and a network learns from these labels.

Goh, Tkachenko, Mueller, arXiv 2210.06812 (2022), Section 3; the weights are in `crowdml.aggregation.crowdlab_weights`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from crowdml.aggregation.aggregator import TieRule, vote_shares
from crowdml.aggregation.crowdlab_weights import Crowdlab
from crowdml.aggregation.inference.confusion import one_hot
from crowdml.joint.joint_result import JointResult
from crowdml.joint.out_of_fold import JointTrainer
from crowdml.labels import CrowdLabels
from crowdml.learning.learner import Learner
from crowdml.learning.task import Task
from crowdml.support.search_space import Space, Whole


@dataclass(frozen=True)
class CrowdlabTraining(TieRule):
    """CROWDLAB with a network as its classifier.

    Args:
        ties, seed: see TieRule.
        folds: number of parts into which the items are split.  Each part is predicted by a network that is trained on
            the majority labels of the other parts.
    """

    folds: int = 3

    SPACE: ClassVar[Space] = {"folds": Whole(2, 5)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")

    def fit(self, crowd: CrowdLabels, task: Task, learner: Learner) -> JointResult:
        """Train out-of-fold networks, infer the labels, and train the final network on all items and these labels."""
        trainer = JointTrainer(learner, task)
        majority = one_hot(vote_shares(crowd).argmax(axis=1), crowd.n_classes)
        predicted = trainer.predict_out_of_fold(majority, self.folds)
        aggregation = Crowdlab(ties=self.ties, seed=self.seed).fit(crowd, predicted)
        return trainer.result(aggregation, trainer.train(aggregation.posterior))
