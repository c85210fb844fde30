from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crowdml.datasets import load_images
from crowdml.experiment import Cell, attempt_cell, run_cell
from crowdml.learning.recipe import Recipe
from tests.cells import cell

RECIPE = Recipe(epochs=2, batch_size=64, lr=0.05, milestones=(1,))


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"missing_rate": 1.0}, r"missing_rate must be in \[0, 1\), got 1"),
        ({"noise_rate": -0.1}, r"noise_rate must be in \[0, 1\), got -0.1"),
        ({"n_workers": 0}, "n_workers must be at least 1, got 0"),
        ({"seed": -1}, "seed must not be negative"),
        ({"pattern": "unifrm"}, "unknown noise pattern 'unifrm'; did you mean uniform"),
        ({"method": "labent"}, "unknown method 'labent'; did you mean labnet"),
        ({"method": "em+bse"}, "unknown learner 'bse'; did you mean base"),
        ({"method": "tests.cells:Nothing"}, "cannot load method class"),
        ({"missing": "ceil"}, "unknown missing rule"),
        ({"network": "lenet"}, "network and recipe go together"),
        ({"method": "labnet"}, "method labnet trains a network"),
    ],
)
def test_a_bad_cell_is_refused_in_the_users_terms(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cell(**changes)


def test_the_id_is_a_hash_of_the_content() -> None:
    assert cell().id == cell(noise_rate=0.6).id
    assert cell(missing_rate=0).id == cell(missing_rate=0.0).id
    assert cell(method_options=(("a", 1), ("b", 2))).id == cell(method_options=(("b", 2), ("a", 1))).id
    different = [
        cell(), cell(seed=1), cell(n_workers=4), cell(method="em"), cell(pattern="flip"), cell(dataset="mnist"),
        cell(missing_rate=0.1), cell(missing="round"), cell(method_options=(("ties", "random"),)), cell(n_train=100),
        cell(network="cnn_digits", recipe=RECIPE), cell(network="cnn_digits", recipe=replace(RECIPE, lr=0.1)),
    ]  # fmt: skip
    assert len({made.id for made in different}) == len(different)
    assert len(cell().id) == 16


def test_a_new_method_version_changes_the_id_of_its_own_cells_only(monkeypatch) -> None:
    from crowdml import methods

    before = cell().id, cell(method="em").id
    monkeypatch.setitem(methods.REGISTRY, "mv", replace(methods.REGISTRY["mv"], version=2))
    assert cell().id != before[0]
    assert cell(method="em").id == before[1]


def test_cells_survive_json() -> None:
    made = cell(
        network="cnn_digits", recipe=RECIPE, pattern="flip", pattern_options=(("pairs", ((1, 2), (2, 1))),), n_train=50
    )
    assert Cell.from_dict(made.to_dict()) == made
    assert hash(Cell.from_dict(made.to_dict())) == hash(made)


def test_all_methods_of_a_combination_see_the_same_crowd() -> None:
    assert cell().crowd_seed == cell(method="em", n_workers=9, missing_rate=0.3).crowd_seed
    assert cell().crowd_seed != cell(seed=1).crowd_seed


def test_a_label_only_cell(digits) -> None:
    result = run_cell(cell(n_workers=5), digits)
    assert result.status == "ok"
    assert result.aggregation_error is not None
    assert 0.2 < result.aggregation_error < 0.6
    assert (result.n_items, result.n_classes, result.n_annotations) == (1297, 10, 1297 * 5)
    assert result.test_accuracy is None
    assert result.n_trainings == 0
    assert result.seconds is not None
    assert result.seconds > 0
    assert [quality for _, quality, _ in result.workers] == pytest.approx([0.4] * 5)


def test_flip_reports_the_affected_classes_apart(digits) -> None:
    result = run_cell(cell(pattern="flip"), digits)
    affected = np.isin(digits.train_labels, [7, 2, 5, 6, 3]).mean()
    assert result.aggregation_error is not None
    assert result.aggregation_error_affected is not None
    assert result.aggregation_error_affected * affected == pytest.approx(result.aggregation_error)


def test_a_training_cell_and_its_determinism(digits) -> None:
    made = cell(network="cnn_digits", recipe=RECIPE, noise_rate=0.2)
    first, second = run_cell(made, digits), run_cell(made, digits)
    assert first.test_accuracy is not None
    assert first.test_accuracy > 0.5
    assert first.test_accuracy == second.test_accuracy
    assert first.curves == second.curves
    assert first.n_trainings == 1
    assert {metric for _, metric, _ in first.curves} >= {"test_accuracy", "train_loss"}
    assert first.images_per_second is not None
    assert first.images_per_second > 0


def test_labnet_reports_its_trainings(digits) -> None:
    result = run_cell(cell(method="labnet", network="cnn_digits", recipe=RECIPE), digits)
    assert result.n_trainings is not None
    # H_0 = 0, so the first two iterations always train.
    assert result.n_trainings >= 2
    assert result.test_accuracy is not None


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("tests.cells:Raises", "RuntimeError: a bug in the method"),
        ("tests.cells:NotANumber", "NonFiniteResultError: the posterior of method tests.cells:NotANumber"),
        ("tests.cells:OutOfMemory", "MemoryError"),
    ],
)
def test_an_exception_becomes_a_failed_result_with_its_traceback(digits, method: str, error: str) -> None:
    result = attempt_cell(cell(method=method), digits)
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.startswith("Traceback")
    assert error in result.error


def test_the_wrong_data_set_is_refused(digits) -> None:
    with pytest.raises(ValueError, match="cell wants data set mnist, got digits"):
        run_cell(cell(dataset="mnist"), digits)
