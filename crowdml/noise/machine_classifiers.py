"""The classifiers of machine annotators, from scikit-learn and torch.  Both libraries are imported when used."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Classifier = Callable[[Images], Labels]
"""Takes (n, channels, height, width) images and returns (n,) labels."""


class Examples(NamedTuple):
    """Images (n, channels, height, width) that annotators learn from, and their true classes (n,)."""

    images: Images
    labels: Labels


def learn_svm(examples: Examples, seed: int, *, kernel: str) -> Classifier:
    """Train a support vector machine.  Nothing is random."""
    from sklearn.svm import SVC

    return _fit(SVC(kernel=kernel), examples)


def learn_neighbours(examples: Examples, seed: int, *, n_neighbours: int) -> Classifier:
    """Return a classifier by the majority of the nearest images.  Nothing is random."""
    from sklearn.neighbors import KNeighborsClassifier

    return _fit(KNeighborsClassifier(n_neighbours), examples)


def learn_logistic(examples: Examples, seed: int) -> Classifier:
    """Train a logistic regression to convergence; the authors take ten steps.  Nothing is random."""
    from sklearn.linear_model import LogisticRegression

    return _fit(LogisticRegression(max_iter=1000), examples)


def learn_fcnn(examples: Examples, seed: int, *, epochs: int) -> Classifier:
    """Train a network with one hidden layer of 128 units by Adam.

    An epoch is one batch, because the authors' batches of 512 hold all examples.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    whole: Any = len(examples.labels)  # scikit-learn's stubs allow only "auto"
    network = MLPClassifier((128,), alpha=1e-3, batch_size=whole, max_iter=epochs, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is intended
        return _fit(network, examples)


def _fit(classifier: Any, examples: Examples) -> Classifier:
    normal = _normaliser(examples)

    def flat(images: Images) -> NDArray[np.float32]:
        return normal(images).reshape(len(images), -1)

    classifier.fit(flat(examples.images), examples.labels)
    return lambda images: classifier.predict(flat(images))


def _normaliser(examples: Examples) -> Callable[[Images], NDArray[np.float32]]:
    """Return a function that subtracts the examples' mean pixel and divides by their deviation, over all channels."""
    mean, deviation = np.float32(examples.images.mean()), np.float32(examples.images.std())
    return lambda images: (images - mean) / max(deviation, np.float32(1))


def learn_cnn(examples: Examples, seed: int, *, epochs: int) -> Classifier:
    """Train a network of two convolutions and two linear layers by Adam, with one batch per epoch.

    This function does not use the project's training loop, because the loop divides the work among the processes of a
    data-parallel run.  Here each process must make the whole crowd.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    _, channels, height, width = examples.images.shape
    n_classes = int(examples.labels.max()) + 1
    normal = _normaliser(examples)

    def inputs(images: Images) -> torch.Tensor:
        return torch.from_numpy(normal(images)).contiguous(memory_format=torch.channels_last)

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(channels, 32, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(64 * ((height - 4) // 2) * ((width - 4) // 2), 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(128, n_classes),
        ).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-3)
        seen, labels = inputs(examples.images), torch.from_numpy(examples.labels)
        for _ in range(epochs):
            optimizer.zero_grad()
            functional.cross_entropy(network(seen), labels).backward()
            optimizer.step()
    network.eval()

    def labels_of(images: Images) -> Labels:
        with torch.inference_mode():
            return network(inputs(images)).argmax(dim=1).numpy()

    return labels_of
