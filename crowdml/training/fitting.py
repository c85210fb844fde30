"""One method trained on one user's items: from names and data to a network and the labels it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crowdml import methods
from crowdml.joint.result import JointResult
from crowdml.labels import CrowdLabels
from crowdml.learning.inputs import Inputs
from crowdml.learning.observers import Observers
from crowdml.learning.recipe import TrainingSettings
from crowdml.learning.task import make_task
from crowdml.methods.carry_out import carry_out
from crowdml.support.torch_device import default_device


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
    inputs: Inputs,
    settings: TrainingSettings,
    *,
    test_inputs: Inputs | None = None,
    test_labels: NDArray[np.int64] | None = None,
    observers: Observers | None = None,
) -> JointResult:
    """Find the labels of a crowd by a method and train the network.

    Args:
        method: the method with its options.
        crowd: the annotations.
        inputs: inputs of the crowd's items, in the order of the crowd.
        settings: network, recipe, seed and pretrained weights.
        test_inputs, test_labels: items for the test accuracy in the learning curves; a label that is no class counts as
            wrong.
        observers: who is told of the progress, and where checkpoints are kept.

    Raises:
        ValueError: the method, the network and the data do not fit together.
        TrainingDivergedError: the loss is not finite.
    """
    task = make_task(
        inputs, crowd.n_classes, settings, test_inputs=test_inputs, test_labels=test_labels, observers=observers
    )
    task.build_network()  # a network that does not fit must fail before a long aggregation, not after it
    return carry_out(method, crowd, task)
