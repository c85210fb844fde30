from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crowdml.datasets import load_images
from crowdml.noise import machine_annotators, make_assignment
from crowdml.noise.machine_annotators import (
    ROSTER,
    MachineAnnotatorOptions,
    crowd_of_answers,
    machine_answers,
    make_machine_annotators,
)
from crowdml.noise.machine_classifiers import (
    Examples,
    learn_cnn,
    learn_fcnn,
    learn_logistic,
    learn_neighbours,
    learn_svm,
)

FEW = 300
"""Items that are labelled."""


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


@pytest.fixture(scope="module")
def examples(digits) -> Examples:
    return Examples(digits.train_images[FEW:], digits.train_labels[FEW:])


@pytest.fixture(scope="module")
def items(digits) -> np.ndarray:
    return digits.train_images[:FEW]


@pytest.fixture(scope="module")
def answers(items, examples) -> np.ndarray:
    """Of the whole roster and of its first once more."""
    return machine_answers(items, examples, 16, seed=3)


def accuracy(learn, examples: Examples, n_images: int, test: Examples, n_seeds: int) -> float:
    """Mean share right, over annotators that learned from different images."""
    shares = []
    for seed in range(n_seeds):
        seen = np.random.default_rng(seed).choice(len(examples.labels), n_images, replace=False)
        labels_of = learn(Examples(examples.images[seen], examples.labels[seen]), seed)
        shares.append((labels_of(test.images) == test.labels).mean())
    return float(np.mean(shares))


def test_the_roster_is_the_papers() -> None:
    assert [annotator.name for annotator in ROSTER] == [
        "linear SVM", "CNN, 5 epochs", "3-NN", "FCNN, 10 epochs", "logistic regression, 100 images",
        "RBF SVM", "CNN, 10 epochs", "5-NN", "FCNN, 15 epochs", "logistic regression, 200 images",
        "polynomial SVM", "CNN, 15 epochs", "7-NN", "FCNN, 20 epochs", "logistic regression, 300 images",
    ]  # fmt: skip


def test_annotators_know_something_and_none_knows_all(digits, answers) -> None:
    assert answers.shape == (FEW, 16)
    assert answers.min() >= 0
    assert answers.max() < 10
    right = (answers == digits.train_labels[:FEW, None]).mean(axis=0)
    assert (right > 0.15).all()
    assert (right < 1).all()
    assert right.std() > 0.1  # they differ


def test_they_err_on_the_same_items(digits, answers) -> None:
    """Unlike drawn labels: two who err with e1 and e2 err together more often than e1 e2."""
    wrong = answers != digits.train_labels[:FEW, None]
    together = np.cov(wrong[:, :15].T.astype(float))
    assert together[np.triu_indices(15, 1)].mean() > 0.02


def test_the_first_workers_are_those_of_a_small_crowd_and_the_seed_decides(items, examples, answers) -> None:
    machine_annotators._kept.clear()
    assert (machine_answers(items, examples, 5, seed=3) == answers[:, :5]).all()
    other = machine_answers(items, examples, 5, seed=4)
    assert ((other != answers[:, :5]).any(axis=0)).all()


def test_after_its_end_the_roster_starts_again_with_other_images(answers) -> None:
    assert (answers[:, 15] != answers[:, 0]).any()
    assert (answers[:, 15] == answers[:, 0]).mean() > 0.7  # both are linear SVMs


def test_an_annotator_is_trained_once_for_all_cells_of_a_group(items, examples, monkeypatch) -> None:
    trained: list[int] = []
    compute = machine_annotators._answers

    def counted(items_, examples_, worker, *rest):
        trained.append(worker)
        return compute(items_, examples_, worker, *rest)

    monkeypatch.setattr(machine_annotators, "_answers", counted)
    monkeypatch.setattr(machine_annotators, "_N_KEPT", 3)
    machine_annotators._kept.clear()
    first = machine_answers(items, examples, 1, seed=5)
    first[:] = -1  # what the caller does to his answers changes nothing
    assert (machine_answers(items.copy(), examples, 1, seed=5) >= 0).all()
    assert trained == [0]
    machine_answers(items[:10], examples, 1, seed=5)
    machine_answers(items, examples, 1, seed=6)
    machine_answers(items, examples, 1, options=MachineAnnotatorOptions(expert_images=50), seed=5)
    assert trained == [0, 0, 0, 0]
    machine_answers(items, examples, 1, seed=5)  # forgotten: three others came since
    assert trained == [0, 0, 0, 0, 0]
    assert len(machine_annotators._kept) == 3


@pytest.mark.parametrize(
    ("learn", "n_seeds"),
    [
        (partial(learn_svm, kernel="linear"), 4),
        (partial(learn_svm, kernel="rbf"), 4),
        (partial(learn_svm, kernel="poly"), 4),
        (partial(learn_neighbours, n_neighbours=5), 4),
        (learn_logistic, 4),
    ],
)
def test_more_images_make_better_annotators_on_average(digits, examples, learn, n_seeds: int) -> None:
    test = Examples(digits.test_images, digits.test_labels)
    few, more = (accuracy(learn, examples, n_images, test, n_seeds) for n_images in (100, 400))
    assert more > few + 0.02


@pytest.mark.parametrize("learn", [learn_cnn, learn_fcnn])
def test_more_epochs_make_better_annotators_on_average(digits, examples, learn) -> None:
    test = Examples(digits.test_images, digits.test_labels)
    few, more = (accuracy(partial(learn, epochs=epochs), examples, 400, test, 4) for epochs in (5, 20))
    assert more > few + 0.1


def test_experts_learn_from_more_images(digits, items, examples) -> None:
    truth = digits.train_labels[:FEW]
    options = MachineAnnotatorOptions(expert_images=900)
    few, many = (machine_answers(items, examples, 3, options=chosen, seed=3) for chosen in (None, options))
    assert (many[:, 0] == truth).mean() > (few[:, 0] == truth).mean()
    assert (many[:, 1:] == few[:, 1:]).all()  # the CNN and the 3-NN are no experts


def test_neighbours_by_hand(items, examples) -> None:
    seen = Examples(examples.images[:80], examples.labels[:80])
    found = learn_neighbours(seen, 0, n_neighbours=3)(items[:40])
    for image, label in zip(items[:40], found, strict=True):
        distances = [float(((image.astype(int) - other.astype(int)) ** 2).sum()) for other in seen.images]
        nearest = seen.labels[np.argsort(distances, kind="stable")[:3]]
        assert label == np.bincount(nearest).argmax()


def test_the_cnn_leaves_torchs_draws_alone_and_follows_its_seed(items, examples) -> None:
    seen = Examples(examples.images[:100], examples.labels[:100])
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first, again, other = (learn_cnn(seen, seed, epochs=3)(items) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert (first == again).all()
    assert (first != other).any()


def test_labelling_in_batches_is_labelling_one_by_one(items, examples, monkeypatch) -> None:
    monkeypatch.setattr(machine_annotators, "_BATCH", 7)
    machine_annotators._kept.clear()
    in_sevens = machine_answers(items[:20], examples, 4, seed=3)
    monkeypatch.setattr(machine_annotators, "_BATCH", 512)
    machine_annotators._kept.clear()
    assert (machine_answers(items[:20], examples, 4, seed=3) == in_sevens).all()


def test_colour_images() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(450) % 3
    images = rng.integers(0, 90, (450, 3, 9, 7)).astype(np.uint8)
    images[np.arange(450), labels] += 100  # the class is the brightest channel
    answers = machine_answers(images[:60], Examples(images, labels), 5, seed=0)
    assert (answers[:, [0, 2, 4]] == labels[:60, None]).mean() > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_workers": 0}, "n_workers must be at least 1, got 0"),
        ({"examples": 399}, "machine annotators learn from up to 400 images, and there are 399"),
        ({"options": MachineAnnotatorOptions(expert_images=998)}, "learn from up to 998 images, and there are 997"),
        ({"side": 5}, "machine annotators need images of at least 6x6 pixels, got 5x8"),
    ],
)
def test_what_cannot_be_is_refused(items, examples, changes: dict, message: str) -> None:
    few = Examples(*(part[: changes.get("examples", len(part))] for part in examples))
    with pytest.raises(ValueError, match=message):
        machine_answers(
            items[:, :, : changes.get("side", 8)], few, changes.get("n_workers", 1), options=changes.get("options")
        )


def test_options_are_checked() -> None:
    assert make_machine_annotators({"expert_images": 9000}).n_images == 9000
    assert make_machine_annotators({}).n_images == 400
    with pytest.raises(ValueError, match="expert_images must be at least 5, got 4"):
        make_machine_annotators({"expert_images": 4})
    with pytest.raises(ValueError, match="unknown option of pattern machine_annotators 'expert_image'"):
        make_machine_annotators({"expert_image": 100})


DESIGNS = [("every_item", {}), ("balanced", {"labels_per_item": 2}), ("power_law", {"labels_per_item": 3})]


@given(st.sampled_from(DESIGNS), st.integers(1, 30), st.integers(3, 6), st.integers(0, 99))
def test_a_crowd_holds_the_answers_of_those_asked(design, n_items: int, n_workers: int, seed: int) -> None:
    name, options = design
    answers = np.random.default_rng(seed).integers(0, 4, (n_items, n_workers)).astype(np.int32)
    crowd = crowd_of_answers(answers, 4, assignment=make_assignment(name, options), seed=seed)
    assert (crowd.label == answers[crowd.item, crowd.worker]).all()
    assert set(crowd.labels_per_item) == {options.get("labels_per_item", n_workers)}
    if name == "every_item":
        fewer = crowd_of_answers(answers[:, :2], 4, assignment=make_assignment(name), seed=seed)
        assert (crowd.to_dense()[:, :2] == fewer.to_dense()).all()


@given(st.sampled_from(["floor", "round"]), st.integers(0, 99))
def test_a_higher_missing_rate_removes_what_a_lower_one_does(rule, seed: int) -> None:
    answers = np.random.default_rng(seed).integers(0, 4, (20, 10)).astype(np.int32)
    kept = [
        crowd_of_answers(
            answers, 4, assignment=make_assignment("every_item"), missing_rate=rate, missing=rule, seed=seed
        ).to_dense()
        for rate in (0.0, 0.3, 0.7)
    ]
    assert [(part >= 0).sum(axis=1).tolist() for part in kept] == [[10] * 20, [7] * 20, [3] * 20]
    for more, fewer in ((kept[0], kept[1]), (kept[1], kept[2])):
        assert (fewer[fewer >= 0] == more[fewer >= 0]).all()
