from __future__ import annotations

from dataclasses import dataclass

import torch

from crowdml.aggregation import MajorityVote
from crowdml.labels import CrowdLabels
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.methods.carry_out import carry_out
from crowdml.methods.configure import Method
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs()
CROWD = CrowdLabels.from_dense(DATA.train_labels[:, None], n_classes=3)


@dataclass(frozen=True)
class Counting:
    """A majority vote that counts how often it runs."""

    runs: list[int]

    def fit(self, crowd: CrowdLabels, prior=None):
        self.runs.append(1)
        return MajorityVote().fit(crowd)


def test_an_aggregation_that_is_given_is_not_computed_again() -> None:
    runs: list[int] = []
    method = Method(Counting(runs), CrossEntropy(), source_is_joint=False)
    computed = carry_out(method, CROWD, make(DATA, epochs=1))
    assert len(runs) == 1
    given = carry_out(method, CROWD, make(DATA, epochs=1), computed.aggregation)
    assert len(runs) == 1
    assert given.aggregation is computed.aggregation
    assert given.n_trainings == 1
    pairs = zip(computed.model.parameters(), given.model.parameters(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)
