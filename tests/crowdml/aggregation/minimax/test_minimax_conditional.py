from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.aggregation.minimax.minimax_conditional import MinimaxConditional
from crowdml.labels import CrowdLabels
from tests.crowds import check_permutations, crowds, real_crowd, simulated


@given(crowds(), st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(crowd: CrowdLabels, seed: int) -> None:
    check_permutations(MinimaxConditional(max_iter=10, tol=0), crowd, seed)


def test_an_item_that_misleads_one_class_only_has_a_term_for_that_class() -> None:
    # Gold items 0 and 1 have the classes 0 and 1, and all labels are 1.  Only the first item confuses the workers.
    truth = np.append([0, 1], np.arange(60) % 2)
    dense = np.tile(truth[:, None], (1, 7))
    dense[0] = 1
    crowd = CrowdLabels(*_columns(dense), n_items=62, n_workers=7, n_classes=2, gold=truth)
    terms = MinimaxConditional(lambda_worker=1.0, lambda_item=1.0).solve(crowd).terms
    assert terms.item is not None
    assert terms.item[0, 0, 1] - terms.item[0, 0, 0] > 2
    assert terms.item[0, 1] == pytest.approx([0, 0])  # never of class 1: no evidence, no term
    assert np.abs(terms.item[1]).max() < 0.5


def _columns(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    item, worker = np.indices(dense.shape)
    return item.ravel(), worker.ravel(), dense.ravel()


def test_a_crowd_whose_matrices_take_too_much_memory_is_refused() -> None:
    crowd, _ = simulated(n_items=100, n_workers=4, n_classes=10)
    with pytest.raises(ValueError, match=r"100 items and 10 classes take 0.0 GB, more than max_bytes = 79999"):
        MinimaxConditional(max_bytes=79_999).fit(crowd)
    MinimaxConditional(max_bytes=80_000, max_iter=1).fit(crowd)
    MinimaxConditional(max_bytes=1, item_terms=False, max_iter=1).fit(crowd)
    with pytest.raises(ValueError, match="max_bytes must be positive, got 0"):
        MinimaxConditional(max_bytes=0)


# 8.33 and 11.12 are the published figures of the conditional form too.
@pytest.mark.parametrize(("name", "percent"), [("bluebird", 8.33), ("web", 11.12), ("rte", 7.63)])
def test_known_error_on_real_crowds(data_root, name: str, percent: float) -> None:
    crowd, gold, known = real_crowd(data_root, name)
    result = MinimaxConditional().fit(crowd)
    assert result.converged
    assert 100 * (result.labels != gold)[known].mean() == pytest.approx(percent, abs=0.1)
