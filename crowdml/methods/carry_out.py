"""Carry a method out: find the labels and train the network.  Imports torch."""

from __future__ import annotations

from crowdml.aggregation.aggregator import Aggregation
from crowdml.joint.result import JointResult
from crowdml.labels import CrowdLabels
from crowdml.learning.learner import Learner, Task, supervise
from crowdml.learning.trainings import Course
from crowdml.methods.configure import Method


def learn_from(aggregation: Aggregation, task: Task, learner: Learner) -> JointResult:
    """Train on the labels that an aggregator has found, by a learner of single labels."""
    course = Course(task)
    given = supervise(aggregation.posterior, task.n_classes, labels=aggregation.labels, device=task.device)
    model = learner.learn(course, given)
    return JointResult(aggregation, model, course.n_trainings, course.n_images, course.seconds)


def carry_out(method: Method, crowd: CrowdLabels, task: Task) -> JointResult:
    """The labels and the network of a whole method: its label source, and its learner where the source trains none."""
    if method.source_is_joint:
        return method.source.fit(crowd, task, method.learner)
    return learn_from(method.source.fit(crowd), task, method.learner)
