"""Pairs of classes that workers confuse, per data set, as (source, target) class indices."""

from __future__ import annotations

from itertools import pairwise

from crowdml.datasets.cifar100_classes import COARSE_OF_FINE

Pairs = tuple[tuple[int, int], ...]


# The fine classes of each super-class of CIFAR-100, in index order.
_SUPERCLASSES = [[fine for fine, group in enumerate(COARSE_OF_FINE) if group == coarse] for coarse in range(20)]
# One mutual pair per super-class: its first two fine classes.  The LABNET paper says only that classes are flipped
# within super-classes.  One mutual pair in each super-class fits the paper's numbers for 3 workers.  The choice of the
# pair does not change the error over the affected classes.
_MUTUAL = tuple(pair for first, second, *_ in _SUPERCLASSES for pair in ((first, second), (second, first)))
# Each class becomes the next class of its super-class, and the last becomes the first (Patrini et al., CVPR 2017).
_CYCLES = tuple(pair for classes in _SUPERCLASSES for pair in pairwise([*classes, classes[0]]))
# bird -> airplane, truck -> automobile, deer -> horse, cat <-> dog (Patrini et al., CVPR 2017; LABNET).
_CIFAR10 = ((2, 0), (9, 1), (4, 7), (3, 5), (5, 3))
# 7 -> 1, 2 -> 7, 5 <-> 6, 3 -> 8: digits that look alike (Patrini et al.; JoCoR).
_DIGITS = ((7, 1), (2, 7), (5, 6), (6, 5), (3, 8))
# pullover -> coat, sandal -> sneaker, dress -> coat, T-shirt <-> shirt: our own choice of classes that look alike.
_FASHION = ((2, 4), (5, 7), (3, 4), (0, 6), (6, 0))


def _of_data_sets(cifar100: Pairs) -> dict[str, Pairs]:
    return {
        "digits": _DIGITS,
        "mnist": _DIGITS,
        "fashion_mnist": _FASHION,
        "cifar10": _CIFAR10,
        "cifar10_labels": _CIFAR10,
        "cifar100": cifar100,
        "cifar100_labels": cifar100,
    }


FLIP_PAIRS = _of_data_sets(_MUTUAL)
"""The class pairs of the pattern "flip" (LABNET)."""

ASYMMETRIC_PAIRS = _of_data_sets(_CYCLES)
"""The class pairs of the pattern "asymmetric", as the noisy-label literature uses them.  With ten classes they equal
FLIP_PAIRS."""
