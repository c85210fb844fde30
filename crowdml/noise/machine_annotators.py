"""Machine annotators: a crowd of weak classifiers, each trained on few images (Ibrahim, Nguyen, Fu, ICLR 2023).

Machine annotators err like people, unlike labels that are drawn from a matrix: they err on hard images, often on the
same images, and more on some classes than on others.  The roster, its order and the settings follow the authors' code.
Two mistakes of the code are corrected: it shuffles the labels of the logistic regressions but not their images, and it
applies softmax twice in the fully connected networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crowdml.labels import CrowdLabels
from crowdml.noise.assignment import Assignment, crowd_of_asked
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
from crowdml.noise.options import make_with_options

_FEW = (100, 200, 300, 400)
"""The numbers of images to learn from.  Each annotator without a number in the roster draws one uniformly."""
_BATCH = 512
"""Items labelled at a time; bounds the memory of the CNNs to about 100 MB."""
_ASSIGNMENT, _TRAINING = 4, 5
"""The purposes of random numbers; simulated crowds use 0 to 3."""
_N_KEPT = 128
_kept: dict[tuple[str, MachineAnnotatorOptions, int, int], NDArray[np.int32]] = {}
"""(digest of the images, options, seed, worker) -> (n_items,) answers."""


@dataclass(frozen=True)
class MachineAnnotatorOptions:
    """The options of the pattern "machine_annotators".

    Args:
        expert_images: the number of images that the linear SVM and the 5-NN learn from, at least 5.  The authors' code
            uses 9,000.  With None they learn from as few images as the other annotators.
    """

    expert_images: int | None = None

    def __post_init__(self) -> None:
        if self.expert_images is not None and self.expert_images < 5:
            raise ValueError(f"expert_images must be at least 5, got {self.expert_images}")

    @property
    def n_images(self) -> int:
        """The largest number of images that an annotator may learn from."""
        return max(*_FEW, self.expert_images or 0)


class Annotator(NamedTuple):
    """One entry of the roster.

    Attributes:
        name: a description of the annotator.
        learn: takes examples and a seed, returns a classifier.
        n_images: the number of images to learn from; None draws the number.
        is_expert: whether `expert_images` sets the number.
    """

    name: str
    learn: Callable[[Examples, int], Classifier]
    n_images: int | None = None
    is_expert: bool = False


def make_machine_annotators(options: dict[str, Any]) -> MachineAnnotatorOptions:
    """Return the checked options.

    Raises:
        ValueError: an option is unknown or out of range.
    """
    return make_with_options("pattern machine_annotators", MachineAnnotatorOptions, options)


def machine_answers(
    items: Images, examples: Examples, n_workers: int, *, options: MachineAnnotatorOptions | None = None, seed: int = 0
) -> NDArray[np.int32]:
    """Return (n_items, n_workers) the answer of each annotator to each item.

    A crowd of 3 annotators equals the first 3 annotators of a crowd of 12.  Worker w is entry w of ROSTER.  After the
    last entry the roster starts again, with other examples.  The answers depend only on the seed, the worker, the
    options and the images.  They are computed on the CPU, so that they do not depend on where networks are trained.
    The answers of the latest 128 annotators stay in memory for cells that share a crowd.

    Args:
        items: (n_items, channels, height, width).
        examples: each annotator learns from a random subset, drawn without replacement.
        n_workers: at least 1.
        options: see MachineAnnotatorOptions.
        seed: the seed of all draws.

    Raises:
        ValueError: n_workers is below 1, an annotator needs more examples, or images are smaller than 6x6.
    """
    chosen = options or MachineAnnotatorOptions()
    if n_workers < 1:
        raise ValueError(f"n_workers must be at least 1, got {n_workers}")
    if len(examples.labels) < chosen.n_images:
        raise ValueError(
            f"machine annotators learn from up to {chosen.n_images} images, and there are {len(examples.labels)}"
        )
    height, width = items.shape[2:]
    if min(height, width) < 6:
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
    """Return the crowd of the asked workers' answers, without the missing labels.

    Args:
        answers: (n_items, n_workers) the answer that each worker gives if he is asked.
        assignment: which workers are asked about each item.
        missing_rate, missing: see `simulate_crowd`.
        seed: the seed of the draws.

    Raises:
        ValueError: the rate is out of range, the rule is unknown, or no label is left.
    """
    n_items, n_workers = answers.shape
    asked = assignment.ask(n_items, n_workers, make_key(seed, _ASSIGNMENT))
    crowd = crowd_of_asked(asked, np.take_along_axis(answers, asked, axis=1), n_workers, n_classes)
    return remove_labels(crowd, missing_rate, missing, seed)


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _answers(
    items: Images, examples: Examples, worker: int, options: MachineAnnotatorOptions, seed: int
) -> NDArray[np.int32]:
    """Return (n_items,) the answers of one annotator."""
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
"""The annotators, in the order of the authors' code."""
