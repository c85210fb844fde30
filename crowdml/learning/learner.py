"""What a noise-aware learner is and what it is given: Learner, Task, Supervision and Batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crowdml.labels import CrowdLabels
from crowdml.learning.annotations import Annotations, BatchAnnotations
from crowdml.learning.inputs import Inputs
from crowdml.learning.recipe import Recipe
from crowdml.support.search_space import Choice, Space

if TYPE_CHECKING:
    from crowdml.learning.trainings import Course

Target = Literal["labels", "posterior"]
"""What a learner of single labels trains on: one class an item, or a distribution an item."""

Terms = dict[str, Tensor]
"""The parts of a loss by name, each a scalar; the loss is their sum."""

Report = Callable[[int, str, float], None]
"""`report(step, metric, value)`: one point of a curve."""


def ignore_report(step: int, metric: str, value: float) -> None:
    """A Report that keeps nothing."""


def ignore_tick(stage: int, done: float) -> None:
    """A tick that nobody waits for."""


@dataclass(frozen=True, eq=False)
class Task:
    """The inputs and the settings of one training.

    Args:
        inputs: of the training items.
        test_inputs: of the test items, or None where there are none.
        test_labels: (n_test,) int64 true classes of the test items, on the inputs' device, or None.
        n_classes: number of classes.
        build_network: makes a freshly initialised network, inputs (n, ...) float -> logits (n, n_classes).
        recipe: how to train.
        seed: every random draw of the training follows from it.
        report: receives points of the learning curves.
        tick: called after each step with the number of the running training and the share of it that is done.
        truth: (n_items,) int64 true classes of the training items, or None.  For the genie-aided baselines only, which
            say so; no other method may look.
        checkpoints: folder in which trainings keep their state, to go on after an interruption; None keeps none.
    """

    inputs: Inputs
    test_inputs: Inputs | None
    test_labels: Tensor | None
    n_classes: int
    build_network: Callable[[], nn.Module]
    recipe: Recipe
    seed: int
    report: Report = field(default=ignore_report)
    tick: Callable[[int, float], None] = field(default=ignore_tick)
    truth: Tensor | None = None
    checkpoints: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where the inputs are put and the network is trained."""
        return self.inputs.device

    @property
    def n_items(self) -> int:
        """Number of training items."""
        return len(self.inputs)


@dataclass(frozen=True, eq=False)
class Supervision:
    """What is known of the classes of the training items, all on one device.

    Args:
        labels: (n_items,) int64 one class an item.
        posterior: (n_items, n_classes) float32 a distribution an item.
        annotations: every annotation of the crowd, for the learners that train on them; else None.
    """

    labels: Tensor
    posterior: Tensor
    annotations: Annotations | None = None

    def target(self, form: Target) -> Tensor:
        """(n_items,) labels or (n_items, n_classes) posterior."""
        return self.labels if form == "labels" else self.posterior

    @property
    def crowd(self) -> Annotations:
        """The annotations.

        Raises:
            ValueError: there are none.
        """
        if self.annotations is None:
            raise ValueError("this learner trains on all annotations of a crowd, and was given one label an item")
        return self.annotations


def supervise(
    target: NDArray | Tensor,
    n_classes: int,
    *,
    labels: NDArray | Tensor | None = None,
    crowd: CrowdLabels | None = None,
    device: torch.device | str = "cpu",
) -> Supervision:
    """Supervision by labels (n_items,), or by a posterior (n_items, n_classes).

    Args:
        target: int labels or a float posterior.
        n_classes: number of classes.
        labels: (n_items,) the class chosen for each item of a posterior; by default its most probable.
        crowd: every annotation, where a learner is to have them.
        device: where all is put.

    Raises:
        ValueError: labels out of range, or a posterior of another number of classes.
    """
    given = torch.as_tensor(target, device=device)
    annotations = None if crowd is None else Annotations(crowd, torch.device(device))
    if given.ndim == 1:
        hard = given.long()
        if len(hard) and (int(hard.min()) < 0 or int(hard.max()) >= n_classes):
            raise ValueError(f"labels must be in [0, {n_classes}), got {int(hard.min())} to {int(hard.max())}")
        return Supervision(hard, nn.functional.one_hot(hard, n_classes).float(), annotations)
    if given.shape[1] != n_classes:
        raise ValueError(f"the posterior has {given.shape[1]} classes, the task {n_classes}")
    hard = given.argmax(dim=1) if labels is None else torch.as_tensor(labels, device=device).long()
    return Supervision(hard, given.float(), annotations)


@dataclass(frozen=True, eq=False)
class Batch:
    """The items of one step.

    Args:
        views: the inputs (n, ...) of the items, once or, for a learner that asks for more, several times, each
            augmented anew.
        items: (n,) int64 their places among all training items.
        given: the supervision of all items.
        epoch: counts from 0.
        n_epochs: of this training.
    """

    views: tuple[Tensor, ...]
    items: Tensor
    given: Supervision
    epoch: int
    n_epochs: int

    @property
    def inputs(self) -> Tensor:
        """(n, ...) the first view."""
        return self.views[0]

    def target(self, form: Target) -> Tensor:
        """(n,) labels or (n, n_classes) posterior of the items."""
        return self.given.target(form)[self.items]

    @property
    def labels(self) -> Tensor:
        """(n,) one class an item."""
        return self.given.labels[self.items]

    @property
    def annotations(self) -> BatchAnnotations:
        """Every annotation of the items."""
        return self.given.crowd.of(self.items)


@dataclass(frozen=True, eq=False)
class Epoch:
    """What a learner is told when an epoch begins.

    Attributes:
        number: counts from 0.
        n_epochs: of this training.
        items: (n,) int64 the items that are trained on.
    """

    number: int
    n_epochs: int
    items: Tensor


@dataclass(frozen=True)
class Learner:
    """A noise-aware method: a frozen dataclass of its hyper-parameters; whatever it learns lives in the model.

    A method is `build` and `loss`.  One that trains several networks in a row overrides `learn`, one that looks at all
    items between epochs `begin_epoch`.
    """

    views: ClassVar[int] = 1
    """How many augmented versions of the inputs a batch holds."""
    one_process: ClassVar[bool] = False
    """Whether data-parallel training is refused, because the model keeps something for each item."""

    SPACE: ClassVar[Space] = {}
    """What can be searched of its options: option -> range."""

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """The model to train; its forward maps normalised inputs to logits (n, n_classes) of the true class."""
        return task.build_network()

    def loss(self, model: nn.Module, batch: Batch) -> Terms:
        """The terms of the mean loss of a batch.

        `model.training` is False where the loss of held-out items is wanted: then nothing may be learned from them.
        """
        raise NotImplementedError

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        """Called before every epoch; by default nothing happens."""

    def parameter_groups(self, model: nn.Module, recipe: Recipe) -> Iterable[dict[str, Any]]:
        """What the optimiser is given; by default every parameter that is learned, all alike."""
        return [{"params": [parameter for parameter in model.parameters() if parameter.requires_grad]}]

    def learn(
        self,
        course: Course,
        given: Supervision,
        *,
        model: nn.Module | None = None,
        items: Tensor | None = None,
        evaluate: bool = True,
    ) -> nn.Module:
        """Train, in one stage unless overridden.

        Args:
            course: trains and predicts.
            given: the supervision of all items.
            model: go on from this one, of an earlier `learn`, instead of a fresh one.
            items: (n,) indices of the items to train on; by default all.
            evaluate: report the test accuracy.
        """
        return course.train(self, given, model=model, items=items, evaluate=evaluate)


@dataclass(frozen=True)
class LabelLearner(Learner):
    """A learner of one label, or one posterior, an item; it goes with any aggregator.

    Args:
        target: "labels" trains on the class chosen for each item, "posterior" on the whole distribution.
    """

    target: Target = "labels"

    SPACE: ClassVar[Space] = {"target": Choice("labels", "posterior")}

    def __post_init__(self) -> None:
        if self.target not in ("labels", "posterior"):
            raise ValueError(f'target must be "labels" or "posterior", got {self.target!r}')


def count_transition(truth: Tensor, posterior: Tensor) -> Tensor:
    """(n_classes, n_classes) P(label | true class), counted over the items; a class without items is the identity.

    Args:
        truth: (n_items,) int64.
        posterior: (n_items, n_classes) labels as distributions.
    """
    n_classes = posterior.shape[1]
    counts = posterior.new_zeros((n_classes, n_classes)).index_add_(0, truth, posterior)
    counts = torch.where(counts.sum(dim=1, keepdim=True) > 0, counts, torch.eye(n_classes, device=counts.device))
    return counts / counts.sum(dim=1, keepdim=True)


def seed_of(*parts: int) -> int:
    """A 63-bit seed of some whole numbers, unlike that of any others."""
    # Zeros at the end are nothing to a SeedSequence, so the number of parts stands before them.
    return int(np.random.SeedSequence([len(parts), *parts]).generate_state(1, np.uint64)[0] >> 1)
