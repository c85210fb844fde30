"""Put a data set on a device, ready to be learned from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from crowdml.datasets import TrainTest
from crowdml.learning.inputs import InMemory, in_memory
from crowdml.learning.learner import Report, Task, ignore_report, ignore_tick
from crowdml.learning.recipe import InputForm, Recipe
from crowdml.networks import build_network
from crowdml.support.torch_device import default_device


def prepare_inputs(data: TrainTest, form: InputForm, device: str = "auto") -> tuple[InMemory, InMemory | None]:
    """Training and test inputs on a device, for `make_task`; they depend on nothing but these arguments.

    Args:
        data: the items.
        form: see Recipe.
        device: a torch device; "auto" is a GPU if there is one, the right one of several under data parallelism.

    Raises:
        ValueError: features that are not finite or not to be brought into that form.
    """
    place = torch.device(default_device() if device == "auto" else device)
    return in_memory(data.train, data.test, form, place)


def make_task(
    data: TrainTest,
    *,
    n_classes: int,
    network: str,
    recipe: Recipe,
    seed: int,
    device: str = "auto",
    report: Report = ignore_report,
    tick: Callable[[int, float], None] = ignore_tick,
    truth: NDArray[np.int64] | None = None,
    checkpoints: Path | None = None,
    inputs: tuple[InMemory, InMemory | None] | None = None,
) -> Task:
    """The Task of training a network on items that fit into memory.

    Args:
        data: the items.
        n_classes: number of classes.
        network: name of the network.
        recipe: how it is trained.
        seed: of all draws.
        device: a torch device; "auto" is a GPU if there is one, the right one of several under data parallelism.
        report, tick, checkpoints: see Task.
        truth: (n_items,) true classes of the training items, for the genie-aided baselines; -1 where not known.
        inputs: what `prepare_inputs` gave for these items, this form and this device, if it was called already.

    Raises:
        ValueError: the items do not fit the network.
    """
    train_inputs, test_inputs = inputs or prepare_inputs(data, recipe.inputs, device)
    place = train_inputs.device
    return Task(
        inputs=train_inputs,
        test_inputs=test_inputs,
        test_labels=None if data.test_labels is None else torch.tensor(data.test_labels, device=place),
        n_classes=n_classes,
        build_network=partial(build_network, network, data.in_shape, n_classes),
        recipe=recipe,
        seed=seed,
        report=report,
        tick=tick,
        truth=None if truth is None else torch.tensor(truth, device=place),
        checkpoints=checkpoints,
    )
