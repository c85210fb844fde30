from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.aggregation.minimax.minimax_cv import FORMS, MinimaxCv, deal_out
from crowdml.labels import CrowdLabels
from tests.crowdml.aggregation.minimax.crowds import log_given
from tests.crowds import crowds, real_crowd, simulated


@pytest.mark.parametrize("form", FORMS)
def test_the_score_is_the_likelihood_of_what_was_held_out(form) -> None:
    crowd, _ = simulated(n_items=25, n_workers=5, n_classes=3)
    method = MinimaxCv(form, grid=(0.5, 0.1), n_folds=3, seed=4)
    choice = method.choose(crowd)
    assert choice.penalties == pytest.approx([4.5, 0.9])  # the strongest first
    fold = deal_out(crowd, 3, seed=4)
    total = 0.0
    for number in range(3):
        train, held = crowd.select(fold != number), crowd.select(fold == number)
        solution = FORMS[form](lambda_worker=4.5).solve(train)
        terms = solution.terms
        assert terms.item is not None
        logits = (terms.coordinates.logits(part) for part in (terms.worker, terms.item))
        joint = np.zeros((25, 3))
        np.add.at(joint, held.item, log_given(held, *logits))
        total += np.log((solution.posterior * np.exp(joint)).sum(axis=1)).sum()
    assert choice.score[0] == pytest.approx(total / crowd.n_annotations)
    best = int(np.argmax(choice.score))
    assert choice.lambda_worker == choice.penalties[best]
    assert method.fit(crowd).posterior == pytest.approx(
        FORMS[form](lambda_worker=choice.lambda_worker).fit(crowd).posterior
    )


def test_of_equally_good_penalties_the_strongest_is_taken() -> None:
    crowd, _ = simulated(n_items=25, n_workers=5, n_classes=3)
    assert MinimaxCv(grid=(1.0, 1.0 + 1e-15, 1.0)).choose(crowd).lambda_worker == 9 * (1.0 + 1e-15)


@given(crowds(), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_folds_are_equal_spread_over_each_item_and_blind_to_row_order(crowd, n_folds: int, seed: int) -> None:
    fold = deal_out(crowd, n_folds, seed)
    sizes = np.bincount(fold, minlength=n_folds)
    assert sizes.max() - sizes.min() <= 1
    for item in range(crowd.n_items):
        of_item = np.bincount(fold[crowd.item == item], minlength=n_folds)
        assert of_item.max() - of_item.min() <= 1
    order = np.random.default_rng(seed).permutation(crowd.n_annotations)
    assert (deal_out(crowd.select(order), n_folds, seed) == fold[order]).all()


def test_more_noise_asks_for_a_stronger_penalty() -> None:
    rng = np.random.default_rng(0)
    noise = CrowdLabels.from_dense(rng.integers(0, 3, (60, 6)), n_classes=3)
    signal, _ = simulated(n_items=300, n_workers=6, n_classes=3)
    method = MinimaxCv(max_iter=20)
    assert method.choose(noise).lambda_worker > method.choose(signal).lambda_worker


def test_gold_items_history_and_prior_reach_the_form() -> None:
    crowd, truth = simulated(n_items=60, n_workers=4, n_classes=2)
    gold = np.where(np.arange(60) < 20, truth, -1)
    history = np.random.default_rng(0).integers(0, 9, (4, 2, 2)).astype(float)
    known = CrowdLabels(
        crowd.item, crowd.worker, crowd.label, n_items=60, n_workers=4, n_classes=2, gold=gold, history=history
    )
    method = MinimaxCv("conditional")
    chosen = method.choose(known, [0.9, 0.1]).lambda_worker
    expected = FORMS["conditional"](lambda_worker=chosen).fit(known, [0.9, 0.1])
    assert method.fit(known, [0.9, 0.1]).posterior == pytest.approx(expected.posterior)
    assert (expected.posterior[:20] == np.eye(2)[truth[:20]]).all()


def test_bad_options_are_refused() -> None:
    for options, message in [
        ({"form": "matrix"}, 'form must be one of "vector", "conditional", "ordinal"'),
        ({"grid": ()}, "grid must hold positive finite numbers, at least one"),
        ({"grid": (1.0, -1.0)}, "grid must hold positive finite numbers"),
        ({"n_folds": 1}, "n_folds must be at least 2, got 1"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            MinimaxCv(**options)
    with pytest.raises(ValueError, match="n_folds = 5 needs 5 annotations or more, got 3"):
        MinimaxCv().fit(CrowdLabels.from_dense(np.array([[0, 1], [1, -1]])))


@pytest.mark.parametrize(("form", "percent"), [("vector", 8.33), ("conditional", 8.33)])
def test_known_error_on_real_crowds(data_root, form, percent: float) -> None:
    crowd, gold, known = real_crowd(data_root, "bluebird")
    method = MinimaxCv(form)
    assert method.choose(crowd).lambda_worker == 1.0  # the authors' default, 0.25 * n_classes**2
    assert 100 * (method.fit(crowd).labels != gold)[known].mean() == pytest.approx(percent, abs=0.1)
