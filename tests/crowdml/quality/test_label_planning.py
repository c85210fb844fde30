from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.aggregation import DawidSkene, MajorityVote
from crowdml.labels import CrowdLabels
from crowdml.quality.label_planning import average_worker, enough_labels, next_labels
from tests.crowds import crowds, simulated


def test_the_expected_gain_by_hand() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [0, 0]]), n_classes=2)
    result = MajorityVote().fit(crowd)
    # Item 0 is undecided, item 1 is certain.  If a worker is right with 0.8, one label for item 0 gives a posterior of
    # 0.8. The entropy falls from log 2 to H(0.8), the error from 0.5 to 0.2.
    result.confusion[:] = [[0.8, 0.2], [0.2, 0.8]]
    wanted = next_labels(crowd, result)
    assert wanted.task.tolist() == [0, 1]
    rest = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    assert wanted.expected_gain.tolist() == pytest.approx([np.log(2) - rest, 0])
    assert next_labels(crowd, result, gain="error").expected_gain.tolist() == pytest.approx([0.3, 0])
    assert next_labels(crowd, result, 1).task.tolist() == [0]


def test_a_label_of_a_guesser_is_worth_nothing() -> None:
    crowd, _ = simulated(n_items=200)
    crowd = crowd.select(np.random.default_rng(5).random(crowd.n_annotations) < 0.5)
    result = DawidSkene().fit(crowd)
    result.confusion[2] = 0.25
    assert next_labels(crowd, result, worker=2).expected_gain.max() == pytest.approx(0, abs=1e-12)
    better = next_labels(crowd, result, worker=5).expected_gain.max()
    assert better > next_labels(crowd, result).expected_gain.max() > 0


@given(crowds(), st.sampled_from(["information", "error"]))
def test_gains_are_those_of_every_possible_label_written_out(crowd: CrowdLabels, gain) -> None:
    result = DawidSkene(max_iter=3).fit(crowd)
    matrix = average_worker(crowd, result)
    assert matrix.sum(axis=1) == pytest.approx(1)

    def loss(q: np.ndarray) -> float:
        return float(-(q[q > 0] * np.log(q[q > 0])).sum()) if gain == "information" else float(1 - q.max())

    for row in next_labels(crowd, result, gain=gain).itertuples():
        q = result.posterior[int(row.task)]  # pyright: ignore[reportArgumentType]
        joint = q[:, None] * matrix
        after = sum(given.sum() * loss(given / given.sum()) for given in joint.T if given.sum() > 0)
        assert row.expected_gain == pytest.approx(max(loss(q) - after, 0), abs=1e-9)


def test_more_labels_are_better_and_the_last_step_is_the_whole_crowd() -> None:
    crowd, truth = simulated(n_items=1500, n_workers=9)
    calls: list[tuple[int, int]] = []
    curve = enough_labels(
        crowd, MajorityVote(), truth, labels_per_item=[1, 3, 9], n_samples=3, progress=lambda *done: calls.append(done)
    )
    assert curve.mean_labels.tolist() == [1, 3, 9]
    assert curve.accuracy.is_monotonic_increasing
    assert curve.accuracy.iloc[0] == pytest.approx((crowd.label == truth[crowd.item]).mean(), abs=0.03)
    assert curve.accuracy.iloc[-1] == pytest.approx((MajorityVote().fit(crowd).labels == truth).mean())
    assert calls[-1] == (7, 9)
    agreement = enough_labels(crowd, MajorityVote(), n_samples=2)
    assert agreement.accuracy.iloc[-1] == 1
    assert set(agreement.measure) == {"agreement with all labels"}
    assert agreement.labels_per_item.tolist() == [1, 2, 3, 4, 5, 6, 8, 9]


@given(crowds(), st.integers(0, 3))
def test_samples_are_nested_and_keep_all_labels_of_small_items(crowd: CrowdLabels, seed: int) -> None:
    kept: list[set[tuple[int, int]]] = []

    class Watch(MajorityVote):
        def fit(self, crowd, prior=None):
            kept.append(set(zip(crowd.item.tolist(), crowd.worker.tolist(), strict=True)))
            return super().fit(crowd, prior)

    truth = np.zeros(crowd.n_items, int)
    enough_labels(crowd, Watch(), truth, labels_per_item=[1, 2, 99], n_samples=1, seed=seed)
    assert kept[0] <= kept[1] <= kept[2]
    assert kept[2] == set(zip(crowd.item.tolist(), crowd.worker.tolist(), strict=True))
    for k, part in zip((1, 2), kept, strict=False):
        counts = np.bincount([item for item, _ in part], minlength=crowd.n_items)
        assert (counts == np.minimum(crowd.labels_per_item, k)).all()


def test_gold_items_are_neither_bought_nor_scored() -> None:
    crowd, truth = simulated(n_items=90)
    known = replace(crowd, gold=np.where(np.arange(90) < 80, truth, -1))
    result = DawidSkene().fit(known)
    assert set(next_labels(known, result).task) == set(range(80, 90))
    alone = enough_labels(known, DawidSkene(), truth, labels_per_item=[6])
    assert alone.accuracy[0] == pytest.approx((result.labels == truth)[80:].mean())


def test_a_worker_is_not_asked_again() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1, -1], [0, -1, 1], [1, 0, -1]]), n_classes=2)
    assert next_labels(crowd, MajorityVote().fit(crowd), worker=1).task.tolist() == [1]


def test_the_curve_does_not_depend_on_the_order_of_rows_and_counts_both_sources_of_error() -> None:
    crowd, truth = simulated(n_items=200)
    order = np.random.default_rng(1).permutation(crowd.n_annotations)
    turned = CrowdLabels(crowd.item[order], crowd.worker[order], crowd.label[order], 200, 6, 4)
    curve, same = (enough_labels(each, MajorityVote(), truth, labels_per_item=[2]) for each in (crowd, turned))
    assert curve.equals(same)
    accuracies = [
        float(enough_labels(crowd, MajorityVote(), truth, labels_per_item=[2], n_samples=1, seed=seed).accuracy[0])
        for seed in range(8)
    ]
    assert curve.standard_error[0] > np.std(accuracies) / np.sqrt(5) / 2


def test_bad_requests_are_refused() -> None:
    crowd, truth = simulated(n_items=20)
    result = MajorityVote().fit(crowd)
    with pytest.raises(ValueError, match="gain must be one of information, error, got 'money'"):
        next_labels(crowd, result, gain="money")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"worker must be in \[0, 6\), got 6"):
        next_labels(crowd, result, worker=6)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        next_labels(crowd, result, 0)
    with pytest.raises(ValueError, match="labels_per_item must be whole numbers of at least 1"):
        enough_labels(crowd, MajorityVote(), truth, labels_per_item=[0])
    with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
        enough_labels(crowd, MajorityVote(), truth, n_samples=0)
    with pytest.raises(ValueError, match="truth must have shape"):
        enough_labels(crowd, MajorityVote(), truth[:3])
