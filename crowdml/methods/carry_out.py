"""Run a method: find the labels and train the network.  Imports torch."""

from __future__ import annotations

from crowdml.aggregation.aggregator import Aggregation
from crowdml.joint.joint_result import JointResult
from crowdml.labels import CrowdLabels
from crowdml.learning.supervision import supervise
from crowdml.learning.task import Task
from crowdml.learning.trainer import Trainer
from crowdml.methods.configure import Method


def carry_out(method: Method, crowd: CrowdLabels, task: Task, aggregation: Aggregation | None = None) -> JointResult:
    """Find the labels of a crowd by a method, and train a network on these labels.

    A joint method does both together.  Otherwise the aggregator runs first, and the learner trains on its labels.  If
    `aggregation` is an earlier result of the aggregator for this crowd, the aggregator does not run again.

    Raises:
        ValueError: the method, the crowd and the task do not fit together.
        TrainingDivergedError: the training loss is not finite.
    """
    if method.source_is_joint:
        return method.source.fit(crowd, task, method.learner)
    found = method.source.fit(crowd) if aggregation is None else aggregation
    trainer = Trainer(task)
    given = supervise(found.posterior, task.n_classes, labels=found.labels, device=task.device)
    return JointResult.of(found, trainer.learn(method.learner, given), trainer)
