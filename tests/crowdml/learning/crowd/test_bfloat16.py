from __future__ import annotations

import numpy as np
import pytest

from crowdml.joint.end_to_end import EndToEnd
from crowdml.learning.crowd.agg_net import AggNet
from crowdml.learning.crowd.conal import Conal
from crowdml.learning.crowd.crowd_learner import CrowdLearner
from crowdml.learning.crowd.doctor_net import DoctorNet
from crowdml.learning.crowd.max_mig import MaxMig
from crowdml.learning.crowd.union_net import UnionNet
from tests.crowdml.learning.crowd.cases import hard_crowd, task_of


@pytest.mark.parametrize(
    "learner",
    [AggNet(), MaxMig(class_prior="learned"), Conal(), UnionNet(variant="a"), UnionNet(), DoctorNet()],
    ids=str,
)
def test_rounded_networks_give_nearly_the_same(learner: CrowdLearner) -> None:
    crowd, _ = hard_crowd()
    rounded, full = (
        EndToEnd(learner=learner).fit(crowd, task_of(epochs=2, batch_size=80, precision=precision)).aggregation
        for precision in ("bfloat16", "float32")
    )
    assert np.abs(rounded.posterior - full.posterior).mean() < 0.03
    assert np.allclose(rounded.confusion.sum(axis=2), 1, atol=1e-5)
    assert not np.array_equal(rounded.confusion, full.confusion)
