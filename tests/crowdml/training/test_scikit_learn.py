"""CrowdClassifier keeps the contract of scikit-learn's estimators, without any exception."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from crowdml.training.classifier import CrowdClassifier


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks([CrowdClassifier(method="mv", epochs=5, device="cpu")])
def test_it_passes_the_checks_of_scikit_learn(estimator, check) -> None:
    check(estimator)
