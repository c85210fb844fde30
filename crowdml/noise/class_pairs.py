"""Which class is flipped into which, for each data set, as (source, target) class indices."""

from __future__ import annotations

from crowdml.datasets.cifar100_classes import COARSE_OF_FINE


def _first_two_of_each_superclass() -> tuple[tuple[int, int], ...]:
    """One mutual pair a super-class: its two first fine classes.

    The LABNET paper says only that classes are flipped within super-classes; one mutual pair in each of the 20 is
    what fits its 3-worker numbers, and for the error over the affected classes it does not matter which pair.
    """
    pairs: list[tuple[int, int]] = []
    for coarse in range(20):
        first, second = [fine for fine, group in enumerate(COARSE_OF_FINE) if group == coarse][:2]
        pairs += [(first, second), (second, first)]
    return tuple(pairs)


# bird -> airplane, truck -> automobile, deer -> horse, cat <-> dog (Patrini et al., CVPR 2017; LABNET).
_CIFAR10 = ((2, 0), (9, 1), (4, 7), (3, 5), (5, 3))
# 7 -> 1, 2 -> 7, 5 <-> 6, 3 -> 8: the digits that look alike (Patrini et al.; JoCoR).
_DIGITS = ((7, 1), (2, 7), (5, 6), (6, 5), (3, 8))
# pullover -> coat, sandal -> sneaker, dress -> coat, T-shirt <-> shirt: our choice of look-alikes.
_FASHION = ((2, 4), (5, 7), (3, 4), (0, 6), (6, 0))
_CIFAR100 = _first_two_of_each_superclass()

FLIP_PAIRS: dict[str, tuple[tuple[int, int], ...]] = {
    "digits": _DIGITS,
    "mnist": _DIGITS,
    "fashion_mnist": _FASHION,
    "cifar10": _CIFAR10,
    "cifar10_labels": _CIFAR10,
    "cifar100": _CIFAR100,
    "cifar100_labels": _CIFAR100,
}
