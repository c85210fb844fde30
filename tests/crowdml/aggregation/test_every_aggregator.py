"""What every aggregator of the registry has in common."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml import methods
from crowdml.aggregation import Aggregator
from crowdml.aggregation.aggregator import Sizes, TieRule, break_ties, check_size, sparse_shares, vote_shares
from crowdml.aggregation.inference import posteriors
from crowdml.labels import CrowdLabels
from crowdml.methods.registry import REGISTRY
from crowdml.support import memory
from crowdml.support.memory import TooLargeError
from tests.crowds import crowds, simulated

AGGREGATORS = [name for name, entry in REGISTRY.items() if entry.kind == "aggregator"]

SHORT: dict[str, dict[str, Any]] = {
    "ebcc": {"n_restarts": 2},
    "laa": {"epochs": 2, "pretraining_epochs": 2, "device": "cpu"},
    "bila": {"epochs": 2, "pretraining_epochs": 2, "device": "cpu"},
}
"""Options that make a method fast.  What is tested here holds for any options."""

RANDOM = {"kos", "mace", "ebcc", "minimax_cv", "minimax_ordinal_cv", "bila"}
"""Methods that draw numbers for each item or worker, so another order gives other draws."""

TOLERANCE = {"label_model": 0.02}
"""Largest difference of a posterior in another order; 1e-6 for the other methods.

The order of the additions changes the last bits of a sum.  L-BFGS stops when a step lowers the loss by less than 1e-7,
and a flat loss leaves the matrices free by about the root of this.
"""


def aggregator(name: str, **options: Any) -> Aggregator:
    return methods.resolve(name, SHORT.get(name, {}) | options, labels_only=True).source


@pytest.mark.parametrize("name", AGGREGATORS)
@given(
    n_items=st.integers(1, 30), n_workers=st.integers(1, 4), n_classes=st.integers(2, 5), seed=st.integers(0, 2**32 - 1)
)
@settings(max_examples=12)
def test_one_label_per_item_leaves_the_labels_as_they_are(
    name: str, n_items: int, n_workers: int, n_classes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n_classes = 2 if REGISTRY[name].two_classes_only else n_classes
    label = rng.choice(n_classes, n_items, p=rng.dirichlet(np.full(n_classes, 0.5)))
    worker = rng.integers(0, n_workers, n_items)
    item = rng.permutation(n_items + 2)[:n_items]  # two items have no label
    result = aggregator(name).fit(CrowdLabels(item, worker, label, n_items + 2, n_workers, n_classes))
    assert (result.labels[item] == label).all()
    assert result.n_unlabelled == 2
    assert np.allclose(result.posterior.sum(axis=1), 1)


def renamed(crowd: CrowdLabels, name: str, seed: int) -> tuple[CrowdLabels, np.ndarray, np.ndarray, np.ndarray]:
    """The crowd with other items, workers and classes at each index, and what is now where."""
    rng = np.random.default_rng(seed)
    items, workers, classes = (rng.permutation(n) for n in (crowd.n_items, crowd.n_workers, crowd.n_classes))
    if name == "em_hard":  # the E-step gives ties to the lowest class, so it knows the order of the classes
        classes = np.arange(crowd.n_classes)
    elif "ordinal" in name:  # the classes are ordered: only their direction has no meaning
        classes = np.arange(crowd.n_classes)[:: (-1) ** int(rng.integers(2))]
    rows = rng.permutation(crowd.n_annotations)
    turned = CrowdLabels(
        np.argsort(items)[crowd.item][rows],
        np.argsort(workers)[crowd.worker][rows],
        np.argsort(classes)[crowd.label][rows],
        crowd.n_items, crowd.n_workers, crowd.n_classes,
    )  # fmt: skip
    return turned, items, workers, classes


@st.composite
def crowds_with_ties(draw: st.DrawFn, max_classes: int) -> CrowdLabels:
    """Small crowds; some have two workers with equal answers, or few labels, so that workers tie."""
    crowd = draw(crowds(max_classes=max_classes))
    dense = crowd.to_dense()
    form = draw(st.sampled_from(["any", "equal workers", "few labels", "equal items"]))
    if form == "equal workers":
        dense[:, -1] = dense[:, 0]
    elif form == "few labels":
        dense[:, 2:] = -1
    elif form == "equal items":
        dense[-1] = dense[0]
    if (dense < 0).all():
        dense[0, 0] = 0
    return CrowdLabels.from_dense(dense, n_classes=crowd.n_classes)


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if name not in RANDOM])
@given(st.data(), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_renaming_items_workers_and_classes_permutes_the_answer(name: str, data: st.DataObject, seed: int) -> None:
    crowd = data.draw(crowds_with_ties(max_classes=4))
    turned, items, workers, classes = renamed(crowd, name, seed)
    # By default, mv gives ties to the lowest class, so the quality of its workers knows the order of the classes.
    options = {"ties": "abstain"} if name == "mv" else {}
    ours, theirs = (aggregator(name, **options).fit(each) for each in (crowd, turned))
    tolerance = TOLERANCE.get(name, 1e-6)
    assert theirs.posterior == pytest.approx(ours.posterior[items][:, classes], abs=tolerance)
    assert theirs.worker_quality == pytest.approx(ours.worker_quality[workers], abs=tolerance, nan_ok=True)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_renaming_changes_only_the_draws_of_a_random_method(name: str) -> None:
    n_classes = 2 if REGISTRY[name].two_classes_only else 3
    crowd, _ = simulated(n_items=15, n_workers=5, n_classes=n_classes, seed=1)
    turned, items, _, classes = renamed(crowd, name, 5)
    ours, theirs = (
        np.array([aggregator(name, seed=seed).fit(each).posterior for seed in range(10)]) for each in (crowd, turned)
    )
    ours = ours[:, items][:, :, classes]
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / 9)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) <= 5 * error + 0.02).all()


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("name", AGGREGATORS)
def test_what_cannot_fit_is_refused_at_once(name: str) -> None:
    method = aggregator(name)
    assert isinstance(method, TieRule)
    many_classes = 2 if REGISTRY[name].two_classes_only else 20_000
    with pytest.raises(TooLargeError, match="5,000,000 workers"):
        check_size(method, Sizes(10**9, 5_000_000, many_classes, 10**11, 10**13))
    check_size(method, Sizes(100, 10, 2, 500, 2500))


def test_em_of_many_workers_and_classes_says_why_not() -> None:
    label = np.arange(20_000)
    crowd = CrowdLabels(label % 5000, label, label, 5000, 5_000_000, 20_000)
    with pytest.raises(TooLargeError) as refused:
        aggregator("em").fit(crowd)
    words = str(refused.value)
    assert "\n" not in words
    for part in ("5,000,000 workers", "20,000 classes", "free", "use method mv"):
        assert part in words


@pytest.mark.parametrize("name", ["mv", "wawa", "zero_based_skill"])
def test_a_vote_over_a_million_classes_and_workers_runs(name: str) -> None:
    n = 1_000_000
    item = np.repeat(np.arange(1000), 3)
    crowd = CrowdLabels(item, np.arange(3000) * 300, (item * 7 + np.arange(3000) % 3 // 2) % n, 1000, n, n)
    result = aggregator(name).fit(crowd)
    assert (result.labels == np.arange(1000) * 7).all()
    assert result.doubt.max() < 0.1
    if name == "mv":
        assert result.label_doubt(crowd)[:3] == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert np.isfinite(result.worker_quality_se[::300][:3000]).all()
    with pytest.raises(TooLargeError, match="the confusion of 1,000,000 workers"):
        _ = result.confusion


def test_a_posterior_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd, _ = simulated()
    result = aggregator("mv").fit(crowd)
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    with pytest.raises(TooLargeError, match="the posterior of 400 items x 4 classes needs about 0 MB"):
        _ = result.posterior


@pytest.mark.parametrize(
    "name", ["mv", "wawa", "em", "one_coin", "glad", "mace", "m_msr", "bwa", "ibcc", "cbcc", "label_model", "ebcc"]
)
@pytest.mark.parametrize("sizes", [(6000, 4, 60, 40), (400, 3, 300, 30)])
def test_the_peak_of_a_fit_is_below_the_bound_and_not_far_below(name: str, sizes: tuple[int, int, int, int]) -> None:
    n_items, n_labels, n_workers, n_classes = sizes
    rng = np.random.default_rng(0)
    truth = rng.integers(0, n_classes, n_items)
    item = np.repeat(np.arange(n_items), n_labels)
    label = np.where(rng.random(len(item)) < 0.7, truth[item], rng.integers(0, n_classes, len(item)))
    crowd = CrowdLabels(
        item, rng.integers(0, n_workers, len(item)), label, n_items, n_workers, n_classes, repeats="keep"
    )
    method = aggregator(name)
    assert isinstance(method, TieRule)
    if hasattr(method, "max_iter"):
        method = replace(method, max_iter=2)  # pyright: ignore[reportCallIssue]
    method.fit(crowd)  # compiles
    tracemalloc.start()
    method.fit(replace(crowd))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    bound = 8 * method.peak_cells(Sizes.of(crowd))
    assert peak <= bound
    assert bound <= 8 * peak + 30e6


# ---------------------------------------------------------------- sparse votes and ties


@given(crowds(), st.sampled_from(["lowest", "first", "random", "abstain"]), st.data())
def test_sparse_votes_equal_dense_votes(crowd: CrowdLabels, ties: Any, data: st.DataObject) -> None:
    gold = data.draw(st.none() | st.just(np.arange(crowd.n_items) % (crowd.n_classes + 1) - 1))
    crowd = replace(crowd, gold=gold, repeats="keep")
    shape = data.draw(st.sampled_from([None, (crowd.n_classes,), (crowd.n_items, crowd.n_classes)]))
    prior = None if shape is None else np.random.default_rng(0).dirichlet(np.ones(crowd.n_classes), shape[:-1])
    sparse, dense = sparse_shares(crowd, prior), vote_shares(crowd, prior)
    assert sparse.toarray() == pytest.approx(dense)
    assert break_ties(sparse, crowd, ties, 3).tolist() == break_ties(dense, crowd, ties, 3).tolist()
    assert posteriors.entropies(sparse) == pytest.approx(posteriors.entropies(dense))
    assert posteriors.mean_of(sparse) == pytest.approx(posteriors.mean_of(dense))
    for ours, theirs in zip(
        posteriors.right_and_total(crowd, sparse), posteriors.right_and_total(crowd, dense), strict=True
    ):
        assert posteriors.dense(ours) == pytest.approx(theirs)


def test_a_large_sparse_table_gives_the_same_errors_of_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd, _ = simulated(n_classes=4)
    expected = aggregator("mv").fit(crowd).worker_quality_se
    monkeypatch.setattr(posteriors, "SMALL_TABLE", 0)
    assert aggregator("mv").fit(crowd).worker_quality_se == pytest.approx(expected)


@pytest.mark.parametrize("name", ["mv", "wawa", "em", "glad"])
def test_a_method_can_abstain_on_ties(name: str) -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 1], [0, 0]]), n_classes=2)
    assert aggregator(name, ties="abstain").fit(crowd).labels.tolist() == [-1, 1, 0]
