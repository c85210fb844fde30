from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from crowdml.learning.augment import augment
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.loop import TrainingDivergedError, train
from crowdml.learning.supervision import supervise
from tests.crowdml.learning.tasks import Fixed, blobs, make

DATA = blobs()
LABELS = DATA.train_labels
GIVEN = supervise(LABELS, 3)
GIVEN_SOFT = supervise(np.eye(3)[LABELS], 3)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def dropout_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))


def test_it_learns_and_reports_each_epoch() -> None:
    curve: list[tuple[int, str, float]] = []
    trained = train(CrossEntropy(), make(DATA, epochs=5, report=lambda *point: curve.append(point)), GIVEN)
    assert [step for step, metric, _ in curve if metric == "train_loss"] == [1, 2, 3, 4, 5]
    losses = [value for _, metric, value in curve if metric == "train_loss"]
    assert losses[-1] < losses[0]
    assert curve[-1][1:] == ("test_accuracy", pytest.approx(1.0, abs=0.02))
    assert trained.n_images == 5 * len(LABELS)
    assert trained.seconds > 0


def test_the_seed_and_the_stream_decide_every_draw() -> None:
    def trained(seed: int = 0, stream: int = 0) -> torch.Tensor:
        task = make(DATA, network=dropout_network, seed=seed, augment="crop_flip")
        return weights(train(CrossEntropy(), task, GIVEN, stream=stream).model)

    torch.manual_seed(1)
    first = trained()
    torch.manual_seed(2)
    assert torch.equal(first, trained())
    assert not torch.equal(first, trained(seed=1))
    assert not torch.equal(first, trained(stream=1))


def test_training_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(CrossEntropy(), make(DATA, network=dropout_network), GIVEN)
    assert torch.equal(torch.rand(3), expected)


def test_one_step_of_sgd_by_hand() -> None:
    # One batch of two items, one epoch: w = w0 - lr * (gradient + weight_decay * w0).
    data = blobs(n_items=4, n_classes=2)
    task = make(data, epochs=1, batch_size=2, lr=0.1, momentum=0.9, weight_decay=0.5)
    start = nn.Linear(64, 2, bias=False)
    w0 = start.weight.detach().clone()
    model = nn.Sequential(nn.Flatten(), start)
    x = next(iter(task.inputs.batches([torch.arange(2)])))[0].flatten(1)
    p = (x @ w0.T).softmax(dim=1)
    gradient = (p - torch.eye(2)[torch.from_numpy(data.train_labels)]).T @ x / 2
    train(CrossEntropy(), task, supervise(data.train_labels, 2), model=model)
    assert torch.allclose(start.weight, w0 - 0.1 * (gradient + 0.5 * w0), atol=1e-5)


def test_the_learning_rate_falls_after_the_milestones() -> None:
    # With a rate that becomes nothing after the first epoch, later epochs change nothing.
    one = train(CrossEntropy(), make(DATA, epochs=1), GIVEN).model
    three = train(CrossEntropy(), make(DATA, epochs=3, milestones=(1,), lr_decay=1e-12, momentum=0.0), GIVEN).model
    still = train(CrossEntropy(), make(DATA, epochs=1, momentum=0.0), GIVEN).model
    assert torch.allclose(weights(three), weights(still), atol=1e-6)
    assert not torch.allclose(weights(one), weights(three))


def test_a_posterior_that_is_certain_trains_as_its_labels() -> None:
    hard = train(CrossEntropy(), make(DATA), GIVEN).model
    soft = train(CrossEntropy(target="posterior"), make(DATA), GIVEN_SOFT).model
    assert torch.allclose(weights(hard), weights(soft), atol=1e-5)


def test_only_the_named_items_are_trained_on() -> None:
    items = torch.arange(0, 60)
    wrong = LABELS.copy()
    wrong[60:] = 0
    named = train(CrossEntropy(), make(DATA), supervise(wrong, 3), items=items)
    assert named.n_images == 3 * 60
    clean = train(CrossEntropy(), make(DATA), GIVEN, items=items)
    assert torch.equal(weights(named.model), weights(clean.model))


def test_a_last_batch_of_one_is_left_out() -> None:
    trained = train(CrossEntropy(), make(DATA, batch_size=17, epochs=1), GIVEN, items=torch.arange(18))
    assert trained.n_images == 17


def test_a_loss_that_is_not_finite_says_where_and_what_to_do() -> None:
    with pytest.raises(
        TrainingDivergedError, match=r"nan in epoch 1 of 3, step 1, because of its term cross_entropy; lower"
    ):
        train(CrossEntropy(), make(DATA), GIVEN, model=Fixed([float("nan")] * 3))


def test_predictions_are_probabilities_of_normalised_images() -> None:
    task = make(DATA)
    model = task.build_network()
    assert task.test_inputs is not None
    predicted = predict_proba(model, task, task.test_inputs)
    assert DATA.test_images is not None
    x = (torch.from_numpy(DATA.test_images).float() / 255 - 0.2) / 0.25
    assert torch.allclose(predicted, model(x).softmax(dim=1), atol=1e-6)


@pytest.mark.parametrize("kind", ["flip", "crop", "crop_flip"])
def test_every_augmented_image_is_a_shifted_or_mirrored_one(kind: str) -> None:
    images = torch.rand(64, 2, 8, 8)
    out = augment(images, kind, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    seen = set()
    for number in range(64):
        found = [
            (top, left, flip)
            for top in range(3)
            for left in range(3)
            for flip in (False, True)
            if torch.equal(out[number], _crop(padded[number], top, left, flip))
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len({flip for _, _, flip in seen}) == (1 if kind == "crop" else 2)
    assert len({(top, left) for top, left, _ in seen}) == (1 if kind == "flip" else 9)


def _crop(padded: torch.Tensor, top: int, left: int, flip: bool) -> torch.Tensor:
    # Mirroring comes first, then the shift.
    image = padded.flip(2) if flip else padded
    return image[:, top : top + 8, left : left + 8]


def test_no_augmentation_is_the_image_itself() -> None:
    images = torch.rand(2, 1, 8, 8)
    assert augment(images, "none", torch.Generator()) is images
