from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crowdml.aggregation import DawidSkene
from crowdml.datasets import load_crowd, load_images
from crowdml.experiment.crowd import cell_crowd
from crowdml.experiment.run_cell import attempt_cell, run_cell
from crowdml.learning.recipe import Recipe
from crowdml.noise import PATTERNS, WORKER_MODELS
from tests.cells import cell

REAL = {"dataset": "bluebird", "pattern": "real", "noise_rate": None, "n_workers": None}
MACHINES = {"pattern": "machine_annotators", "noise_rate": None, "n_workers": 3}
RECIPE = Recipe(epochs=2, batch_size=64, lr=0.05, milestones=(1,))


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


def test_recorded_crowds_are_the_same_to_the_bit(digits) -> None:
    for changes, digest in (
        ({"n_workers": 5, "missing_rate": 0.3}, "63cb0aa671ab3e3a"),
        ({"n_workers": 5, "missing_rate": 0.3, "missing": "bernoulli"}, "ca1507a6d79a9c87"),
        ({"pattern": "bimodal"}, "25be2991297c90a0"),
        ({"pattern": "flip"}, "7bc8b10141340941"),
    ):
        crowd = cell_crowd(cell(seed=1, **changes), digits).crowd
        content = b"".join(column.tobytes() for column in (crowd.item, crowd.worker, crowd.label))
        assert hashlib.sha256(content).hexdigest()[:16] == digest


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
@pytest.mark.parametrize("worker_model", sorted(WORKER_MODELS))
def test_every_pattern_goes_with_every_worker_model_and_design(digits, pattern: str, worker_model: str) -> None:
    for assignment, options in (
        ("every_item", {}), ("balanced", {"labels_per_item": 3}), ("power_law", {"labels_per_item": 2}),
    ):  # fmt: skip
        made = cell(
            pattern=pattern, worker_model=worker_model, assignment=assignment, assignment_options=options, n_workers=6,
            noise_rate=0.3, n_train=200,
        )  # fmt: skip
        result = run_cell(made, digits)
        assert result.status == "ok"
        assert result.n_annotations == 200 * options.get("labels_per_item", 6)
        assert len(result.workers) == 6


def test_spammers_can_be_wrong_where_the_pattern_is_not(digits) -> None:
    made = cell(pattern="flip", worker_model="hammer_spammer", worker_options={"hammers": 0.0}, n_workers=2)
    given = cell_crowd(made, digits)
    assert given.affected.all()
    assert given.quality == pytest.approx(0.1)


def test_a_cell_of_machine_annotators(digits) -> None:
    made = cell(**{**MACHINES, "n_workers": 4}, missing_rate=0.25, method="em")
    result = run_cell(made, digits)
    assert result.n_annotations == 1297 * 3
    assert result.aggregation_error is not None
    assert result.aggregation_error == result.aggregation_error_affected
    assert result.aggregation_error < 0.2
    assert result.confusion_error is not None
    given = cell_crowd(made, digits)
    dense = cell_crowd(cell(**{**MACHINES, "n_workers": 4}), digits).crowd.to_dense()
    kept = given.crowd.to_dense()
    assert (kept[kept >= 0] == dense[kept >= 0]).all()
    # Their quality and matrices are those of all their answers, missing or not.
    right = (dense == digits.train_labels[:, None]).mean(axis=0)
    assert given.quality == pytest.approx(right)
    assert [true for _, true, _ in result.workers] == pytest.approx(right)
    for worker, true, label in ((0, 3, 3), (1, 8, 1), (3, 0, 6)):
        share = (dense[digits.train_labels == true, worker] == label).mean()
        assert given.confusion[worker, true, label] == pytest.approx(share)
    assert given.confusion.sum(axis=2) == pytest.approx(1)
    few = cell_crowd(cell(**MACHINES, method="mv"), digits).crowd.to_dense()
    assert (few == dense[:, :3]).all()
    assert (cell_crowd(cell(**MACHINES, seed=1), digits).crowd.to_dense() != few).any()


def test_machine_annotators_learn_from_images_that_the_cell_does_not_use(digits, monkeypatch) -> None:
    learned: list[np.ndarray] = []

    def keep(items, examples, n_workers, **options):
        learned.append(examples.images)
        return np.zeros((len(items), n_workers), np.int32)

    monkeypatch.setattr("crowdml.experiment.crowd.machine_answers", keep)
    for n_train, options in ((600, {}), (600, {"expert_images": 800}), (None, {})):
        made = cell(**MACHINES, n_train=n_train, pattern_options=options)
        used = digits.take_train(n_train, made.seed)
        cell_crowd(made, used, whole=digits)
        assert used.train_images is not None
        content = [{image.tobytes() for image in images} for images in (learned[-1], used.train_images)]
        if n_train and not options:
            assert len(learned[-1]) == 1297 - 600
            assert content[0] | content[1] == {image.tobytes() for image in digits.train_images}
            assert not content[0] & content[1]
        else:
            assert content[0] == content[1]
    with pytest.raises(
        ValueError, match="dataset must have images, because machine annotators look at them, got 'digits'"
    ):
        cell_crowd(cell(**MACHINES), replace(digits, train_images=None, test_images=None))


def test_the_annotators_of_geocrowdnet(digits) -> None:
    made = cell(
        noise_rate=0.0, n_workers=5, worker_model="separable_uniform", worker_options={"gamma": 0.01}, method="em"
    )
    assert cell_crowd(made, digits).quality == pytest.approx([0.957, *[0.1001 / 1.0001] * 4], abs=0.01)


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
    assert result.error_kind == error.partition(":")[0]


def test_a_cell_of_a_real_crowd(data_root: Path) -> None:
    data = load_crowd("web", data_root)
    made = cell(**{**REAL, "dataset": "web"}, method="em")
    result = run_cell(made, data)
    fitted = DawidSkene().fit(data.crowd)
    assert result.aggregation_error == (fitted.labels != data.truth)[data.known].mean()
    assert result.aggregation_error == result.aggregation_error_affected
    assert (result.n_items, result.n_classes, result.n_annotations) == (2665, 5, 15567)
    assert result.test_accuracy is None
    assert len(result.workers) == 177
    worker, true, _ = result.workers[7]
    mine = (data.crowd.worker == worker) & data.known[data.crowd.item]
    assert true == pytest.approx((data.crowd.label == data.truth[data.crowd.item])[mine].mean())


def test_fewer_workers_and_labels_of_a_real_crowd(data_root: Path) -> None:
    data = load_crowd("bluebird", data_root)
    few, more = (cell_crowd(cell(**{**REAL, "n_workers": n}), data).crowd for n in (5, 9))
    assert (more.to_dense()[:, :5] == few.to_dense()).all()
    assert more.worker_ids is not None
    whole = data.crowd.to_dense()
    assert data.crowd.worker_ids is not None
    column = [data.crowd.worker_ids.tolist().index(name) for name in more.worker_ids]
    assert (whole[:, column] == more.to_dense()).all()
    thinned = cell_crowd(cell(**REAL, missing_rate=0.5), data).crowd
    assert set(thinned.labels_per_item.tolist()) == {20}
    other = cell_crowd(cell(**REAL, missing_rate=0.5, seed=1), data).crowd
    assert (thinned.to_dense() != other.to_dense()).any()
    with pytest.raises(ValueError, match="n_workers must be at most 39, the workers of the crowd, got 40"):
        run_cell(cell(**{**REAL, "n_workers": 40}), data)


def test_a_real_pattern_needs_a_real_crowd(digits) -> None:
    with pytest.raises(
        ValueError,
        match="pattern does not go with the data set bluebird, which holds images or true classes, got 'real'",
    ):
        run_cell(cell(**REAL), replace(digits, name="bluebird"))


def test_the_wrong_data_set_is_refused(digits) -> None:
    with pytest.raises(ValueError, match="dataset must be digits, the data set given, got 'mnist'"):
        run_cell(cell(dataset="mnist"), digits)
