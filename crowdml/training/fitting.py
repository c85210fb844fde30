"""One method trained on one user's items: from names and data to a network and the labels it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from crowdml import methods
from crowdml.joint.result import JointResult
from crowdml.labels import CrowdLabels
from crowdml.learning.inputs import Inputs
from crowdml.learning.learner import Report, Task, ignore_report, ignore_tick
from crowdml.learning.recipe import Recipe
from crowdml.methods.carry_out import carry_out
from crowdml.networks import build_network
from crowdml.networks.pretrained import load_backbone
from crowdml.support.torch_device import default_device
from crowdml.training.items import Items
from crowdml.training.preparation import Preparation


@dataclass(frozen=True, eq=False)
class Observers:
    """Who is told how a training goes, and where it keeps its state.

    Args:
        report, tick, checkpoints: see Task.
        test_inputs, test_labels: for the test accuracy in the learning curves; a label that is no class counts as
            wrong.
    """

    report: Report = ignore_report
    tick: Callable[[int, float], None] = ignore_tick
    checkpoints: Path | None = None
    test_inputs: Inputs | None = None
    test_labels: torch.Tensor | None = None


def configured_method(name: str, options: Mapping[str, Any]) -> methods.Method:
    """The method with its options.

    Raises:
        ValueError: no such method or option, or a value that it does not take.
    """
    try:
        return methods.resolve(name, options)
    except TypeError as error:  # a text where a number is compared
        raise ValueError(f"options of method {name}: {error}") from error


def usable_device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU if there is one.

    Raises:
        ValueError: torch cannot use it.
    """
    chosen = default_device() if name == "auto" else name
    try:
        device = torch.device(chosen)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {chosen!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def fit_method(
    method: methods.Method,
    crowd: CrowdLabels,
    items: Items,
    preparation: Preparation,
    *,
    network: str,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    weights: Path | None = None,
    observers: Observers | None = None,
) -> JointResult:
    """Find the labels and train the network.

    Args:
        method: as configured.
        crowd: the annotations.
        items: those of the crowd, in its order.
        preparation: how they become inputs.
        network: its name.
        recipe: how it is trained.
        seed: of all draws.
        device: where it is trained.
        weights: a state_dict from which the network starts, see `load_backbone`; None starts from random weights.
        observers: see there.

    Raises:
        ValueError: the method, the network and the data do not go together.
        TrainingDivergedError: the loss is not finite.
    """
    build = partial(build_network, network, preparation.in_shape, crowd.n_classes)
    if weights is not None:
        build = partial(load_backbone, network, preparation.in_shape, crowd.n_classes, weights)
    build()  # what does not fit is to be said before a long aggregation, not after it
    watching = observers or Observers()
    task = Task(
        inputs=preparation.inputs(items, device),
        test_inputs=watching.test_inputs,
        test_labels=watching.test_labels,
        n_classes=crowd.n_classes,
        build_network=build,
        recipe=recipe,
        seed=seed,
        report=watching.report,
        tick=watching.tick,
        checkpoints=watching.checkpoints,
    )
    return carry_out(method, crowd, task)
