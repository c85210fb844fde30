from __future__ import annotations

import numpy as np
import pytest
import torch

from crowdml.learning.inputs import in_memory
from crowdml.learning.recipe import Recipe, TrainingSettings
from crowdml.learning.task import make_task
from crowdml.networks import build_network
from tests.crowdml.learning.tasks import blobs

DATA = blobs()
RECIPE = Recipe(epochs=1)


def inputs_of_blobs():
    assert DATA.train_images is not None
    return in_memory(DATA.train_images, DATA.test_images, "standard", "cpu")


def test_the_network_takes_the_shape_of_the_inputs() -> None:
    images, _ = inputs_of_blobs()
    features, _ = in_memory(np.ones((4, 5), np.float32), None, "standard", "cpu")
    for inputs, shape in ((images, (1, 8, 8)), (features, (5,))):
        assert inputs.in_shape == shape
        network = make_task(inputs, 3, TrainingSettings("mlp128", RECIPE)).build_network()
        assert network(torch.zeros(2, *shape)).shape == (2, 3)


def test_labels_and_truth_become_copies_on_the_device() -> None:
    inputs, test_inputs = inputs_of_blobs()
    labels = DATA.test_labels.copy()
    labels.flags.writeable = False  # as an array in shared memory
    task = make_task(
        inputs,
        3,
        TrainingSettings("mlp128", RECIPE),
        test_inputs=test_inputs,
        test_labels=labels,
        truth=DATA.train_labels,
    )
    assert task.test_labels is not None
    assert task.truth is not None
    assert task.test_labels.tolist() == labels.tolist()
    assert task.truth.tolist() == DATA.train_labels.tolist()


def test_a_network_starts_from_pretrained_weights(tmp_path) -> None:
    pretrained = build_network("mlp128", (1, 8, 8), 7)
    torch.save(pretrained.state_dict(), tmp_path / "weights.pt")
    inputs, _ = inputs_of_blobs()
    network = make_task(inputs, 3, TrainingSettings("mlp128", RECIPE, weights=tmp_path / "weights.pt")).build_network()
    first, before = next(iter(network.parameters())), next(iter(pretrained.parameters()))
    assert torch.equal(first, before)


def test_a_network_that_does_not_fit_is_refused_when_it_is_built() -> None:
    features, _ = in_memory(np.ones((4, 5), np.float32), None, "standard", "cpu")
    task = make_task(features, 3, TrainingSettings("cnn_digits", RECIPE))
    with pytest.raises(ValueError, match="cnn_digits"):
        task.build_network()


def test_indices_of_no_choice_are_all_items() -> None:
    task = make_task(inputs_of_blobs()[0], 3, TrainingSettings("mlp128", RECIPE))
    assert task.indices(None).tolist() == list(range(120))
    assert task.indices(torch.tensor([4, 2])).tolist() == [4, 2]
