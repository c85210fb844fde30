from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.aggregation.inference import kernels, threads
from crowdml.aggregation.inference.confusion import FLOOR, given_counts, infer_posterior
from crowdml.aggregation.inference.on_device import OnDevice
from crowdml.labels import CrowdLabels
from tests.crowds import crowds


def by_sparse_products(crowd: CrowdLabels, log_confusion, log_prior, *, hard: bool = False):
    """Compute E-step and counts by the textbook formulas, with the sparse indicator."""
    table = log_confusion.transpose(0, 2, 1).reshape(-1, crowd.n_classes)
    joint = np.exp(crowd.indicator @ table + log_prior)
    if crowd.gold is not None:
        joint *= (crowd.gold[:, None] < 0) | (crowd.gold[:, None] == np.arange(crowd.n_classes))
    total = joint.sum(axis=1, keepdims=True)
    posterior = np.eye(crowd.n_classes)[joint.argmax(axis=1)] if hard else joint / total
    counts = (crowd.indicator.T @ posterior).reshape(crowd.n_workers, crowd.n_classes, crowd.n_classes)
    return posterior, counts.transpose(0, 2, 1), float(np.log(total).sum())


@st.composite
def steps(draw: st.DrawFn):
    """Draw a crowd, perhaps with gold labels, repeats and unsorted rows; its tables; a prior per class or per item."""
    crowd = draw(crowds(max_items=30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    order = rng.integers(0, crowd.n_annotations, crowd.n_annotations)
    gold = rng.integers(-1, crowd.n_classes, crowd.n_items) if draw(st.booleans()) else None
    crowd = CrowdLabels(
        crowd.item[order], crowd.worker[order], crowd.label[order],
        crowd.n_items, crowd.n_workers, crowd.n_classes, repeats="keep", gold=gold,
    )  # fmt: skip
    confusion = rng.dirichlet(np.ones(crowd.n_classes), (crowd.n_workers, crowd.n_classes))
    shape = (crowd.n_items,) if draw(st.booleans()) else ()
    prior = rng.dirichlet(np.ones(crowd.n_classes), shape)
    return crowd, np.log(np.maximum(confusion, FLOOR)), np.log(np.maximum(prior, FLOOR))


@given(steps(), st.booleans(), st.sampled_from(["kernels", "device"]))
def test_a_step_is_the_sparse_products_of_the_textbook(step, hard: bool, where: str) -> None:
    crowd, log_confusion, log_prior = step
    expected, counts, log_evidence = by_sparse_products(crowd, log_confusion, log_prior, hard=hard)
    posterior = np.full((crowd.n_items, crowd.n_classes), 1 / crowd.n_classes)
    moved = np.abs(expected - posterior).max()
    if where == "kernels":
        result = kernels.expectation(crowd, log_confusion, log_prior, posterior, hard=hard)
    else:
        on_device = OnDevice(crowd, posterior, "cpu", hard=hard)
        result = on_device.e_step(
            kernels.Tables(np.exp(log_confusion), np.exp(log_prior), log_confusion, log_prior, 0.0)
        )
        posterior = on_device.posterior()
    assert posterior == pytest.approx(expected, abs=1e-9)
    assert result.counts == pytest.approx(counts, abs=1e-9)
    assert result.class_counts == pytest.approx(expected.sum(axis=0), abs=1e-9)
    assert result.log_evidence == pytest.approx(log_evidence, abs=1e-8)
    assert result.moved == pytest.approx(moved, abs=1e-9)
    assert given_counts(crowd, expected) == pytest.approx(counts, abs=1e-9)


@given(steps())
def test_posterior_and_evidence_of_each_item_agree_with_the_textbook(step) -> None:
    crowd, log_confusion, log_prior = step
    expected, _, log_evidence = by_sparse_products(crowd, log_confusion, log_prior)
    posterior, evidence = infer_posterior(crowd, np.exp(log_confusion), np.exp(log_prior))
    assert posterior == pytest.approx(expected, abs=1e-9)
    assert evidence.sum() == pytest.approx(log_evidence, abs=1e-8)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_threads_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, n_classes: int) -> None:
    rng = np.random.default_rng(0)
    crowd = CrowdLabels.from_dense(rng.integers(-1, n_classes, (20_000, 30)), n_classes=n_classes)
    log_confusion = np.log(rng.dirichlet(np.ones(n_classes), (30, n_classes)))
    log_prior = np.log(rng.dirichlet(np.ones(n_classes)))
    expected, counts, log_evidence = by_sparse_products(crowd, log_confusion, log_prior)
    results = []
    for n_threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", n_threads)
        assert len(threads.cut(crowd.by_item.start, n_classes, log_confusion.size)) > 1
        posterior = np.zeros((crowd.n_items, n_classes))
        step = kernels.expectation(crowd, log_confusion, log_prior, posterior)
        assert posterior == pytest.approx(expected, abs=1e-9)
        assert step.counts == pytest.approx(counts, rel=1e-9)
        assert step.log_evidence == pytest.approx(log_evidence, rel=1e-12)
        results.append(step)
    assert (results[0].counts == results[1].counts).all()
    assert results[0].log_evidence == results[1].log_evidence


def test_logarithms_are_gathered_over_any_number_of_items() -> None:
    """Each item has one label of probability 0.5 and a uniform prior.  A product over so many items overflows."""
    for n_classes in (2, 3):
        crowd = CrowdLabels.from_dense(np.zeros((5000, 1), int), n_classes=n_classes)
        log_confusion = np.log(np.full((1, n_classes, n_classes), 1 / n_classes))
        posterior = np.zeros((5000, n_classes))
        step = kernels.expectation(crowd, log_confusion, np.log(np.full(n_classes, 1 / n_classes)), posterior)
        assert step.log_evidence == pytest.approx(5000 * np.log(1 / n_classes))
