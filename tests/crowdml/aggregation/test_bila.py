from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.aggregation import DawidSkene, MajorityVote
from crowdml.aggregation.bila import Bila
from crowdml.aggregation.inference.confusion import infer_posterior
from crowdml.labels import CrowdLabels
from tests.crowds import crowds, real_crowd, simulated


def test_the_bound_is_below_the_evidence_and_comes_near() -> None:
    crowd, _ = simulated(n_items=200, n_classes=3)
    prior = np.full(3, 1 / 3)
    result = Bila(epochs=300, learning_rate=0.01, smoothing=0).fit(crowd, prior)
    evidence = infer_posterior(crowd, result.confusion, prior)[1].mean()
    assert result.objective[-1] <= evidence + 1e-3
    assert result.objective[-1] == pytest.approx(evidence, abs=0.05)
    assert result.objective[-1] > result.objective[0]


def test_it_finds_the_optimum_of_dawid_skene() -> None:
    crowd, _ = simulated(n_items=200, n_classes=3)
    ours = Bila(epochs=400, learning_rate=0.01, smoothing=0.01).fit(crowd, np.full(3, 1 / 3))
    theirs = DawidSkene(smoothing=0.01, class_prior="uniform", max_iter=500, tol=1e-9).fit(crowd)
    assert ours.confusion == pytest.approx(theirs.confusion, abs=0.1)
    assert (ours.labels == theirs.labels).mean() > 0.95


@settings(max_examples=10)
@given(crowds(), st.booleans())
def test_every_crowd_has_an_answer(crowd: CrowdLabels, with_gold: bool) -> None:
    if with_gold:
        crowd = replace(crowd, gold=np.random.default_rng(0).integers(-1, crowd.n_classes, crowd.n_items))
    result = Bila(pretraining_epochs=3, epochs=3).fit(crowd)
    assert np.allclose(result.posterior.sum(axis=1), 1)
    assert np.allclose(result.confusion.sum(axis=2), 1)
    if crowd.gold is not None:
        known = crowd.gold >= 0
        assert (result.posterior[known] == np.eye(crowd.n_classes)[crowd.gold[known]]).all()


@pytest.mark.parametrize("batch_size", [64, 65_536])
def test_the_seed_decides_and_every_seed_beats_the_vote(batch_size: int) -> None:
    crowd, truth = simulated(n_classes=3)
    methods = [Bila(seed=seed, batch_size=batch_size, epochs=40) for seed in (1, 1, 2)]
    first, again, other = (method.fit(crowd) for method in methods)
    assert (first.posterior == again.posterior).all()
    assert not np.allclose(first.posterior, other.posterior, atol=1e-9)
    wrong = (MajorityVote().fit(crowd).labels != truth).mean()
    assert max((result.labels != truth).mean() for result in (first, other)) < wrong


def test_the_order_of_the_annotations_does_not_matter() -> None:
    crowd, _ = simulated(n_items=60)
    order = np.random.default_rng(0).permutation(crowd.n_annotations)
    shuffled = replace(crowd, item=crowd.item[order], worker=crowd.worker[order], label=crowd.label[order])
    assert Bila(epochs=20).fit(shuffled).posterior == pytest.approx(Bila(epochs=20).fit(crowd).posterior, abs=1e-9)


def test_gold_labels_and_histories_teach_who_lies() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    dense = np.where(rng.random((200, 5)) < [0.1, 0.1, 0.1, 0.9, 0.9], truth[:, None], 1 - truth[:, None])
    crowd = CrowdLabels.from_dense(dense, n_classes=2)
    assert (Bila().fit(crowd).labels != truth).mean() > 0.9
    gold = np.where(np.arange(200) < 20, truth, -1)
    assert (Bila().fit(replace(crowd, gold=gold)).labels != truth).mean() < 0.05
    liar = np.array([[10.0, 90], [90, 10]])
    history = np.stack([liar] * 3 + [liar[::-1]] * 2)
    assert (Bila().fit(replace(crowd, history=history)).labels != truth).mean() < 0.05


def test_an_item_without_annotations_gets_the_prior() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [1, 1], [-1, -1]]), n_classes=2)
    prior = np.array([[0.5, 0.5], [0.5, 0.5], [0.3, 0.7]])
    assert Bila(epochs=5).fit(crowd, prior).posterior[2] == pytest.approx([0.3, 0.7])


@pytest.mark.parametrize("dense", [[[0, 0], [0, 0]], [[0, 0, -1], [1, 1, -1], [0, 0, 1]], [[1, 1], [0, 0], [-1, 1]]])
def test_every_edge_is_defined(dense) -> None:
    crowd = CrowdLabels.from_dense(np.array(dense), n_classes=2)
    assert (Bila().fit(crowd).labels == crowd.votes.argmax(axis=1)).all()


def test_bad_options_are_refused() -> None:
    for options, message in [
        ({"hidden": (64,)}, "hidden must be"),
        ({"hidden": (64, 0)}, "hidden must be"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            Bila(**options)


@pytest.mark.parametrize(("name", "percent"), [("bluebird", 11.11), ("rte", 6.4), ("ms", 21.0)])
def test_error_on_real_crowds(data_root, name: str, percent: float) -> None:
    crowd, gold, known = real_crowd(data_root, name)
    assert 100 * (Bila().fit(crowd).labels != gold)[known].mean() == pytest.approx(percent, abs=1.0)
