"""Properties of every form of minimax entropy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from scipy.special import log_softmax

from crowdml.aggregation.minimax.minimax_conditional import MinimaxConditional
from crowdml.aggregation.minimax.minimax_em import Minimax
from crowdml.aggregation.minimax.minimax_entropy import MinimaxEntropy
from crowdml.aggregation.minimax.minimax_ordinal import MinimaxOrdinal
from crowdml.labels import CrowdLabels
from tests.crowdml.aggregation.minimax.crowds import log_evidence
from tests.crowds import check_em, crowds, simulated

Array = np.ndarray
FORMS: list[type[Minimax]] = [MinimaxEntropy, MinimaxConditional, MinimaxOrdinal]


def written_out(form: type[Minimax], crowd: CrowdLabels, flat: Array) -> tuple[Array, Array, Array]:
    """Return the logits of workers and items, and the workers' parameters, from the papers' flat parameters.

    The ordinal form has 4 * (n_classes - 1) parameters, one per threshold and pair of sides.
    """
    n_workers, n_items, n_classes = crowd.n_workers, crowd.n_items, crowd.n_classes
    if form is not MinimaxOrdinal:
        worker, item = np.split(flat, [n_workers * n_classes**2])
        return worker.reshape(n_workers, n_classes, n_classes), item.reshape(n_items, -1, n_classes), worker
    size = 4 * (n_classes - 1)
    logits = np.zeros((n_workers + n_items, n_classes, n_classes))
    theta = flat.reshape(-1, n_classes - 1, 2, 2)
    for c in range(n_classes):
        for label in range(n_classes):
            for s in range(1, n_classes):
                logits[:, c, label] += theta[:, s - 1, int(c >= s), int(label >= s)]
    return logits[:n_workers], logits[n_workers:], flat[: n_workers * size]


def parameters(form: type[Minimax], term: Array) -> Array:
    """Return the papers' parameters of fitted terms."""
    return np.stack([-term, term], axis=-1).ravel() / np.sqrt(2) if form is MinimaxOrdinal else term.ravel()


@pytest.mark.parametrize("form", FORMS)
def test_the_answer_is_a_maximum_of_the_penalised_likelihood(form: type[Minimax]) -> None:
    crowd, _ = simulated(n_items=12, n_workers=4, n_classes=3)
    method = form(lambda_worker=1.5, lambda_item=2.5, tol=1e-9, max_iter=3000, inner_iter=20)
    solution = method.solve(crowd)

    def loss(flat: Array) -> float:
        worker_logits, item_logits, worker = written_out(form, crowd, flat)
        cost = 1.5 * (worker**2).sum() + 2.5 * (flat[len(worker) :] ** 2).sum()
        return float(cost / 2 - log_evidence(crowd, worker_logits, item_logits).sum())

    assert solution.terms.item is not None
    found = np.append(parameters(form, solution.terms.worker), parameters(form, solution.terms.item))
    assert -loss(found) == pytest.approx(solution.objective[-1], abs=1e-5)
    # The M-step ends when a step spreads logits by less than SETTLED.  So the gradient is small, but not zero.
    assert np.abs(approx_fprime(found, loss)).max() < 5e-3
    improved = minimize(loss, found, method="L-BFGS-B", options={"maxiter": 20})
    assert loss(found) - improved.fun < 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_history_is_answers_to_items_without_a_term(form: type[Minimax]) -> None:
    crowd, _ = simulated(n_items=30, n_workers=4, n_classes=3)
    history = np.random.default_rng(0).integers(0, 6, (4, 3, 3)).astype(float)
    with_history = replace(crowd, history=history)
    method = form(lambda_worker=1.5, lambda_item=2.5, max_iter=40, tol=0)
    solution = method.solve(with_history)
    check_em(method.fit(with_history))
    terms = solution.terms
    worker_logits = terms.coordinates.logits(terms.worker)
    assert terms.item is not None
    item_logits = terms.coordinates.logits(terms.item)
    before = float((history * log_softmax(worker_logits, axis=2)).sum())
    cost = 1.5 * (terms.worker**2).sum() + 2.5 * (terms.item**2).sum()
    expected = log_evidence(crowd, worker_logits, item_logits).sum() + before - cost / 2
    assert solution.objective[-1] == pytest.approx(expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("item_terms", [True, False])
def test_a_history_decides_between_equal_workers(form: type[Minimax], item_terms: bool) -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 0]] * 5), n_classes=2)
    history = np.stack([np.array([[90.0, 10.0], [10.0, 90.0]]), np.full((2, 2), 50.0)])
    result = form(item_terms=item_terms).fit(replace(crowd, history=history))
    assert result.labels.tolist() == [0, 1] * 5
    assert result.confusion[0, 0, 0] > 0.8
    assert result.confusion[1, 0, 0] < 0.6


@pytest.mark.parametrize("form", FORMS)
def test_gold_labels_unmask_a_lying_majority(form: type[Minimax]) -> None:
    truth = np.arange(200) % 2
    dense = np.stack([1 - truth, 1 - truth, 1 - truth, truth, truth], axis=1)
    crowd = CrowdLabels.from_dense(dense, n_classes=2)
    gold = np.where(np.arange(200) < 20, truth, -1)
    result = form().fit(replace(crowd, gold=gold))
    assert (result.labels == truth).all()
    assert (result.posterior[:20] == np.eye(2)[truth[:20]]).all()


@given(
    crowds(),
    st.sampled_from(FORMS),
    st.booleans(),
    st.sampled_from([None, 1e-6, 0.1]),
    st.sampled_from(["votes", "majority"]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_the_objective_never_falls_and_gold_items_keep_their_class(
    crowd: CrowdLabels, form: type[Minimax], item_terms: bool, penalty: float | None, init, known: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    if known:
        history = rng.integers(0, 4, (crowd.n_workers, crowd.n_classes, crowd.n_classes)).astype(float)
        crowd = replace(crowd, gold=rng.integers(-1, crowd.n_classes, crowd.n_items), history=history)
    method = form(
        lambda_worker=penalty, lambda_item=penalty, item_terms=item_terms, init=init, max_iter=15, tol=0, inner_iter=2
    )
    result = method.fit(crowd)
    assert np.isfinite(result.objective).all()
    check_em(result)
    if crowd.gold is not None:
        sure = crowd.gold >= 0
        assert (result.posterior[sure] == np.eye(crowd.n_classes)[crowd.gold[sure]]).all()


@given(crowds(), st.sampled_from(FORMS), st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_does_not_matter(crowd: CrowdLabels, form: type[Minimax], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(crowd.n_annotations)
    shuffled = crowd.select(order)  # pyright: ignore[reportArgumentType]
    method = form(max_iter=10, tol=0)
    assert method.fit(shuffled).posterior == pytest.approx(method.fit(crowd).posterior, abs=1e-9)


@pytest.mark.parametrize(
    "dense",
    [
        [[0], [1], [0]],  # one worker, one annotation an item
        [[0, 0], [0, 0]],  # one class seen
        [[0, 0, -1], [1, 1, -1], [0, 0, 1]],  # a worker who labelled once
        [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],  # unanimous, and an item without annotations
    ],
)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("form", FORMS)
def test_every_edge_is_defined(form: type[Minimax], n_classes: int, dense) -> None:
    crowd = CrowdLabels.from_dense(np.array(dense), n_classes=n_classes)
    result = form().fit(crowd)
    check_em(result)
    assert np.isfinite(result.posterior).all()
    labelled = crowd.labels_per_item > 0
    assert result.posterior[~labelled] == pytest.approx(1 / n_classes)
    if n_classes == 2:  # with classes that nobody named, the penalties outweigh so few annotations
        assert (result.labels[labelled] == crowd.votes.argmax(axis=1)[labelled]).all()


@pytest.mark.parametrize("form", FORMS)
def test_two_answers_of_one_worker_to_one_item_both_count(form: type[Minimax]) -> None:
    once, _ = simulated(n_items=40, n_workers=5, n_classes=3)
    twice = once.select(np.repeat(np.arange(once.n_annotations), 2))  # pyright: ignore[reportArgumentType]
    # If all annotations and the penalties are doubled, the M-step is the same.  Only the posterior is sharper.
    single = form(lambda_worker=2.0, lambda_item=3.0, max_iter=1).solve(once).terms
    double = form(lambda_worker=4.0, lambda_item=6.0, max_iter=1).solve(twice).terms
    assert double.worker == pytest.approx(single.worker)
    assert double.item == pytest.approx(single.item)


@pytest.mark.parametrize("form", FORMS)
def test_item_terms_too_small_to_matter_are_left_out(form: type[Minimax]) -> None:
    crowd, _ = simulated(n_items=1000, n_workers=5, n_classes=3)
    assert form(lambda_worker=2.0, lambda_item=1e9).solve(crowd).terms.item is None
    left_out = form(lambda_worker=2.0, lambda_item=1e5, tol=1e-3)
    result = left_out.solve(crowd)
    assert result.terms.item is None
    kept = replace(left_out, tol=1e-9, max_iter=len(result.objective)).solve(crowd)
    assert kept.terms.item is not None
    assert 0 < np.abs(kept.posterior - result.posterior).max() < 1e-3
