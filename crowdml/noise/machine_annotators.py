"""Machine annotators: a crowd of weak classifiers, each trained on few images (Ibrahim, Nguyen, Fu, ICLR 2023).

They err as people do and drawn labels do not: on the images that are hard, often on the same ones, and on some classes
more than on others.  The roster, its order and the settings are those of the authors' code; its two faults are mended:
labels shuffled against the images of the logistic regressions, and a softmax before the softmax of the fully connected
networks.  Where theirs trains the linear SVM and one k-NN on 9,000 images, here `expert_images` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crowdml.labels import CrowdLabels
from crowdml.noise.assignment import Assignment
from crowdml.noise.counter_random import make_key
from crowdml.noise.machine_classifiers import (
    Classifier,
    Examples,
    Images,
    learn_cnn,
    learn_fcnn,
    learn_logistic,
    learn_neighbours,
    learn_svm,
)
from crowdml.noise.missing import MissingRule, remove_labels
from crowdml.support.names import check_name

_FEW = (100, 200, 300, 400)
"""How many images an annotator learns from, evenly drawn, unless the roster says it."""
_BATCH = 512
"""Items labelled at a time, which keeps what the CNNs compute in between to some 100 MB."""
_ASSIGNMENT, _TRAINING = 4, 5
"""What a seed is used for; 0 to 3 are those of simulated crowds."""
_N_KEPT = 128
_kept: dict[tuple[str, MachineAnnotators, int, int], NDArray[np.int32]] = {}
"""(digest of the images, options, seed, worker) -> (n_items,) answers."""


@dataclass(frozen=True)
class MachineAnnotators:
    """The options of the pattern "machine_annotators".

    Args:
        expert_images: on how many images the linear SVM and the 5-NN learn, at least 5; 9,000 in the authors' code.
            None gives them as few as the others.
    """

    expert_images: int | None = None

    def __post_init__(self) -> None:
        if self.expert_images is not None and self.expert_images < 5:
            raise ValueError(f"expert_images must be at least 5, got {self.expert_images}")

    @property
    def n_images(self) -> int:
        """The most that any of them learns from."""
        return max(*_FEW, self.expert_images or 0)


class Annotator(NamedTuple):
    """One of the roster.

    Attributes:
        name: for people.
        learn: examples and a seed -> what gives (n, channels, height, width) images (n,) labels.
        n_images: that it learns from; None draws the number.
        is_expert: whether `expert_images` is meant for it.
    """

    name: str
    learn: Callable[[Examples, int], Classifier]
    n_images: int | None = None
    is_expert: bool = False


def make_machine_annotators(options: dict[str, Any]) -> MachineAnnotators:
    """The options, checked.

    Raises:
        ValueError: an unknown one, or one out of range.
    """
    for option in options:
        check_name("option of pattern machine_annotators", option, [item.name for item in fields(MachineAnnotators)])
    return MachineAnnotators(**options)


def machine_answers(
    items: Images, examples: Examples, n_workers: int, *, options: MachineAnnotators | None = None, seed: int = 0
) -> NDArray[np.int32]:
    """(n_items, n_workers) what each annotator says of each item; the first 3 of 12 are those of a crowd of 3.

    Worker w is number w of ROSTER, which starts again after its end with other examples.  Everything is computed on the
    CPU, so that it does not depend on where networks are trained, and follows from the seed, the worker and the images;
    the answers of the last 128 annotators are kept, for the cells of a grid that share a crowd.

    Args:
        items: (n_items, channels, height, width).
        examples: each annotator learns from a random choice of them, drawn without replacement.
        n_workers: at least 1.
        options: see MachineAnnotators.
        seed: of all draws.

    Raises:
        ValueError: no workers, fewer examples than an annotator learns from, or images smaller than 6x6.
    """
    chosen = options or MachineAnnotators()
    if n_workers < 1:
        raise ValueError(f"n_workers must be at least 1, got {n_workers}")
    if len(examples.labels) < chosen.n_images:
        raise ValueError(
            f"machine annotators learn from up to {chosen.n_images} images, and there are {len(examples.labels)}"
        )
    if min(items.shape[2:]) < 6:
        height, width = items.shape[2:]
        raise ValueError(f"machine annotators need images of at least 6x6 pixels, got {height}x{width}")
    of_images = _digest(items, *examples)
    answers = np.empty((len(items), n_workers), np.int32)
    for worker in range(n_workers):
        key = (of_images, chosen, seed, worker)
        if key not in _kept:
            while len(_kept) >= _N_KEPT:
                del _kept[next(iter(_kept))]
            _kept[key] = _answers(items, examples, worker, chosen, seed)
        answers[:, worker] = _kept[key]
    return answers


def crowd_of_answers(
    answers: NDArray[np.int32],
    n_classes: int,
    *,
    assignment: Assignment,
    missing_rate: float = 0.0,
    missing: MissingRule = "floor",
    seed: int = 0,
) -> CrowdLabels:
    """The answers of those who are asked, less those that are missing.

    Args:
        answers: (n_items, n_workers) what each worker says if he is asked.
        n_classes: number of classes.
        assignment: who is asked about which item.
        missing_rate, missing: see `simulate_crowd`.
        seed: of the draws.

    Raises:
        ValueError: a rate out of range, an unknown rule, or nothing left.
    """
    n_items, n_workers = answers.shape
    asked = assignment.ask(n_items, n_workers, make_key(seed, _ASSIGNMENT))
    crowd = CrowdLabels(
        item=np.repeat(np.arange(n_items, dtype=np.int32), asked.shape[1]),
        worker=asked.ravel(),
        label=np.take_along_axis(answers, asked, axis=1).ravel(),
        n_items=n_items,
        n_workers=n_workers,
        n_classes=n_classes,
        repeats="keep",  # a design asks nobody twice
    )
    return remove_labels(crowd, missing_rate, missing, seed)


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _answers(
    items: Images, examples: Examples, worker: int, options: MachineAnnotators, seed: int
) -> NDArray[np.int32]:
    """(n_items,) of one annotator."""
    rng = np.random.default_rng([seed, _TRAINING, worker])
    annotator = ROSTER[worker % len(ROSTER)]
    n_images = int(rng.choice(_FEW)) if annotator.n_images is None else annotator.n_images
    if annotator.is_expert and options.expert_images is not None:
        n_images = options.expert_images
    seen = rng.choice(len(examples.labels), n_images, replace=False)
    labels_of = annotator.learn(Examples(examples.images[seen], examples.labels[seen]), int(rng.integers(2**31)))
    starts = range(0, len(items), _BATCH)
    return np.concatenate([labels_of(items[start : start + _BATCH]) for start in starts]).astype(np.int32)


ROSTER: tuple[Annotator, ...] = (
    Annotator("linear SVM", partial(learn_svm, kernel="linear"), is_expert=True),
    Annotator("CNN, 5 epochs", partial(learn_cnn, epochs=5)),
    Annotator("3-NN", partial(learn_neighbours, n_neighbours=3)),
    Annotator("FCNN, 10 epochs", partial(learn_fcnn, epochs=10)),
    Annotator("logistic regression, 100 images", learn_logistic, n_images=100),
    Annotator("RBF SVM", partial(learn_svm, kernel="rbf")),
    Annotator("CNN, 10 epochs", partial(learn_cnn, epochs=10)),
    Annotator("5-NN", partial(learn_neighbours, n_neighbours=5), is_expert=True),
    Annotator("FCNN, 15 epochs", partial(learn_fcnn, epochs=15)),
    Annotator("logistic regression, 200 images", learn_logistic, n_images=200),
    Annotator("polynomial SVM", partial(learn_svm, kernel="poly")),
    Annotator("CNN, 15 epochs", partial(learn_cnn, epochs=15)),
    Annotator("7-NN", partial(learn_neighbours, n_neighbours=7)),
    Annotator("FCNN, 20 epochs", partial(learn_fcnn, epochs=20)),
    Annotator("logistic regression, 300 images", learn_logistic, n_images=300),
)
"""In the order of the authors' code."""
