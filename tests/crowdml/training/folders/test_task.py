from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crowdml.learning.evaluate import accuracies
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.recipe import Recipe
from crowdml.learning.supervision import supervise
from crowdml.learning.task import Task
from crowdml.learning.trainer import Trainer
from crowdml.networks import build_network
from crowdml.training.folders import FolderItems, drop_unreadable, read_layout
from crowdml.training.folders.task import folder_task
from tests.crowdml.training.folders.pictures import cut_short, imagenet

RECIPE = Recipe(epochs=3, batch_size=8, lr=0.02, weight_decay=0.0, augment="crop_flip")


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> FolderItems:
    found = read_layout(imagenet(tmp_path_factory.mktemp("items"), n_train=12))
    cut_short(found.train_paths[5])
    return drop_unreadable(found)[0]


def make(items: FolderItems, recipe: Recipe = RECIPE, **more) -> Task:
    return folder_task(items, network="cnn_digits", side=8, recipe=recipe, **more)


def learn(items: FolderItems, **more) -> tuple[dict[str, Tensor], float]:
    task = make(items, **more)
    assert items.train_labels is not None
    model = Trainer(task).learn(CrossEntropy(), supervise(items.train_labels, task.n_classes))
    return model.state_dict(), accuracies(model, task)["test_accuracy"]


def test_a_network_learns_from_a_folder_with_a_broken_image(items: FolderItems) -> None:
    task = make(items)
    assert (task.n_items, task.n_classes) == (35, 3)
    assert task.test_inputs is not None
    assert len(task.test_inputs) == 12
    assert learn(items)[1] == 1.0


def test_threads_do_not_change_what_is_learned(items: FolderItems) -> None:
    one, several = learn(items, workers=1)[0], learn(items, workers=4)[0]
    for name, value in one.items():
        assert torch.equal(value, several[name]), name


def test_unit_inputs_are_between_0_and_1(items: FolderItems) -> None:
    standard, unit = (make(items, replace(RECIPE, inputs=form)) for form in ("standard", "unit"))
    ((ours,),) = unit.inputs.batches([torch.arange(4)])
    ((normal,),) = standard.inputs.batches([torch.arange(4)])
    assert 0 <= float(ours.min()) < float(ours.max()) <= 1
    red = (ours[:, 0] - 0.485) / 0.229
    np.testing.assert_allclose(normal[:, 0].numpy(), red.numpy(), atol=1e-5)


def test_pretrained_weights_are_taken(items: FolderItems, tmp_path: Path) -> None:
    other = build_network("cnn_digits", (3, 8, 8), 10)
    torch.save(other.state_dict(), tmp_path / "w.pth")
    network = make(items, weights=tmp_path / "w.pth").build_network()
    assert torch.equal(network.state_dict()["0.weight"], other.state_dict()["0.weight"])
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 3)


def test_what_does_not_fit(items: FolderItems) -> None:
    with pytest.raises(ValueError, match=r'recipe\.inputs must be "standard" or "unit" for images of a folder'):
        make(items, replace(RECIPE, inputs="whitened"))
    nameless = replace(items, class_names=None, layout="flat")
    with pytest.raises(ValueError, match="layout flat names no classes; give n_classes"):
        make(nameless)
    assert make(nameless, n_classes=7).n_classes == 7
