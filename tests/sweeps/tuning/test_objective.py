"""The objective validates on items that the method has not seen, and never on the test labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml import datasets, methods
from crowdml.aggregation import MajorityVote
from crowdml.datasets import ImageData
from crowdml.experiment.crowd import cell_crowd
from crowdml.experiment.run_cell import run_cell
from crowdml.labels import CrowdLabels
from sweeps.tuning.objective import (
    accuracy_on_test,
    crowd_of_items,
    evaluate_cell,
    evaluate_point,
    held_out_annotations,
    held_out_items,
    split_for_validation,
    validation_labels,
)
from tests.searches import of_labels, of_network


@pytest.fixture(scope="module")
def digits() -> ImageData:
    data = datasets.load("digits", for_networks=True)
    assert isinstance(data, ImageData)
    return data


def nothing(value: float) -> None:
    pass


@pytest.mark.parametrize("objective", ["clean_validation", "noisy_validation"])
@pytest.mark.parametrize("method", ["nnaqc", "ccem", "genie", "labnet"])
def test_the_test_set_is_never_looked_at(method: str, objective: str, digits: ImageData) -> None:
    assert digits.test_images is not None
    search = of_network(method, objective=objective, n_workers=2, epochs=2)
    other = replace(digits, test_images=np.zeros_like(digits.test_images[:7]), test_labels=np.zeros(7, np.int64))
    point = search.defaults()
    assert (
        evaluate_point(search, point, digits, nothing).by_seed == evaluate_point(search, point, other, nothing).by_seed
    )


@pytest.mark.parametrize("objective", ["clean_validation", "noisy_validation"])
def test_a_network_is_not_trained_on_the_items_that_validate_it(objective: str, digits: ImageData) -> None:
    search = of_network(objective=objective, n_workers=3)
    part = digits.take_train(300, 0)
    assert part.train_images is not None
    given_all = cell_crowd(search.cell, part)
    split = split_for_validation(search, search.cell, digits)
    chosen = held_out_items(search, search.cell, given_all)
    assert split.items.test is not None
    assert split.items.test_labels is not None
    assert len(split.items.test) == chosen.sum() == 60
    assert np.array_equal(split.items.train, part.train_images[~chosen])
    assert np.array_equal(split.items.test, part.train_images[chosen])
    assert np.array_equal(split.truth, part.train_labels[~chosen])
    assert np.array_equal(split.crowd.to_dense(), given_all.crowd.to_dense()[~chosen])
    truth = part.train_labels[chosen]
    if objective == "clean_validation":
        assert np.array_equal(split.items.test_labels, truth)
    else:
        votes = given_all.crowd.votes[chosen]
        assert (votes[np.arange(60), split.items.test_labels] == votes.max(axis=1)).all()
        assert 0.5 < (split.items.test_labels == truth).mean() < 1


def test_the_value_is_the_mean_over_seeds_of_the_last_epoch(digits: ImageData) -> None:
    search = of_network(seeds=[3, 5], epochs=3)
    seen: list[float] = []
    found = evaluate_point(search, search.defaults(), digits, seen.append)
    each = [evaluate_cell(search, search.cell_at(search.defaults(), seed), digits, nothing) for seed in (3, 5)]
    assert found.by_seed == tuple(each)
    assert found.value == pytest.approx(np.mean(each))
    assert len(seen) == 6
    assert seen[2] == pytest.approx(each[0])
    assert seen[5] == pytest.approx(found.value)
    assert found.seconds > 0


def test_an_aggregator_is_validated_on_some_items_and_tested_on_the_others(digits: ImageData) -> None:
    search = of_labels()
    given_all = cell_crowd(search.cell, digits.take_train(300, 0))
    gold = held_out_items(search, search.cell, given_all)
    labels = methods.resolve("em", labels_only=True).source.fit(given_all.crowd).labels
    right = labels == given_all.truth
    assert evaluate_cell(search, search.cell, digits, nothing) == pytest.approx(right[gold].mean())
    assert accuracy_on_test(search, search.cell, digits) == pytest.approx(right[~gold].mean())
    noisy = of_labels(objective="noisy_validation")
    assert accuracy_on_test(noisy, noisy.cell, digits) == pytest.approx(right.mean())


def test_the_test_accuracy_of_a_network_equals_the_result_of_its_cell(digits: ImageData) -> None:
    search = of_network(epochs=2)
    assert accuracy_on_test(search, search.cell, digits) == run_cell(search.cell, digits).test_accuracy


def test_noisy_validation_is_the_log_likelihood_of_held_out_annotations(digits: ImageData) -> None:
    search = of_labels(n_workers=3, objective="noisy_validation")
    crowd = cell_crowd(search.cell, digits.take_train(300, 0)).crowd
    held_out = held_out_annotations(crowd, 0.2, 0)
    found = methods.resolve("em", labels_only=True).source.fit(crowd.select(~held_out))
    expected = [
        np.log(sum(found.posterior[i, c] * found.confusion[w, c, label] for c in range(10)))
        for i, w, label in zip(crowd.item[held_out], crowd.worker[held_out], crowd.label[held_out], strict=True)
    ]
    assert evaluate_cell(search, search.cell, digits, nothing) == pytest.approx(np.mean(expected))


@given(st.integers(0, 2**31), st.floats(0.05, 0.9), st.integers(2, 4))
def test_at_most_one_annotation_per_item_is_held_out(seed: int, share: float, n_workers: int) -> None:
    dense = np.random.default_rng(seed).integers(-1, 3, (60, n_workers))
    dense[0] = 0
    crowd = CrowdLabels.from_dense(dense, n_classes=3)
    several = crowd.labels_per_item > 1
    held_out = held_out_annotations(crowd, share, seed) if round(share * several.sum()) else None
    if held_out is not None:
        counts = np.bincount(crowd.item[held_out], minlength=60)
        assert counts.max() == 1
        assert counts.sum() == round(share * several.sum())
        assert several[counts > 0].all()


@given(st.integers(0, 2**31))
def test_the_crowd_of_some_items_keeps_their_annotations_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.integers(-1, 3, (20, 4))
    items = rng.random(20) < 0.5
    items[0], dense[0] = True, 1
    part = crowd_of_items(CrowdLabels.from_dense(dense, n_classes=3), items)
    assert np.array_equal(part.to_dense(), dense[items])
    assert (part.n_workers, part.n_classes) == (4, 3)


def test_ties_of_the_validation_majority_are_broken_at_random(digits: ImageData) -> None:
    search = of_network(objective="noisy_validation", n_workers=2)
    given_all = cell_crowd(search.cell, digits.take_train(300, 0))
    mine = np.bincount(validation_labels(search, search.cell, given_all), minlength=10)
    lowest = np.bincount(MajorityVote().fit(given_all.crowd).labels, minlength=10)
    assert lowest[0] - lowest[9] > 2 * abs(mine[0] - mine[9])


def test_nothing_to_validate_on_is_an_error(digits: ImageData) -> None:
    search = of_labels(n_workers=1, objective="noisy_validation")
    with pytest.raises(
        ValueError, match="items that have two or more annotations, but the crowd has only 0 such items"
    ):
        evaluate_cell(search, search.cell, digits, nothing)
    few = of_network(share=0.001)
    with pytest.raises(ValueError, match="leaves no item to validate on or no item to learn from; change --validation"):
        evaluate_cell(few, few.cell, digits, nothing)
