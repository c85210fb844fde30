"""Noise patterns by name: the transition matrix of a worker who errs in a certain way.

"uniform", "bimodal" and "flip" are those of LABNET (Ghiassi, Birke, Chen; VISAPP 2022).  The paper describes them in
words; the readings here are the ones that reproduce its label-only numbers, and the alternatives are options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from crowdml.noise.class_pairs import ASYMMETRIC_PAIRS, FLIP_PAIRS
from crowdml.noise.mapped import Flip, Pair, Permutation
from crowdml.noise.spread import Bimodal, ItemDifficulty, RandomSimplex, Uniform
from crowdml.support.names import check_name


class NoisePattern(Protocol):
    """How a label is distributed, given the true class; a dataclass of the rate and of options."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def rate(self) -> float:
        """The noise rate."""
        ...

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(n_classes, n_classes): row t is the distribution of the given label for true class t."""
        ...

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """(n_classes,): the classes whose labels can be wrong."""
        ...


PATTERNS: dict[str, type[NoisePattern]] = {
    "uniform": Uniform,
    "bimodal": Bimodal,
    "flip": Flip,
    "symmetric": Uniform,
    "asymmetric": Flip,
    "pair": Pair,
    "permutation": Permutation,
    "random_simplex": RandomSimplex,
    "item_difficulty": ItemDifficulty,
}

_PAIRS = {"flip": FLIP_PAIRS, "asymmetric": ASYMMETRIC_PAIRS}


def make_pattern(name: str, rate: float, dataset: str, options: Mapping[str, Any] | None = None) -> NoisePattern:
    """The pattern of that name.

    Args:
        name: one of PATTERNS.
        rate: noise rate in [0, 1).
        dataset: gives the class pairs of "flip" and "asymmetric" where the options name none.
        options: further fields of the pattern's class.

    Raises:
        ValueError: unknown name or option, rate out of range, or no class pairs known for the data set.
    """
    kind = PATTERNS[check_name("noise pattern", name, PATTERNS)]
    if not 0 <= rate < 1:
        raise ValueError(f"noise_rate must be in [0, 1), got {rate}")
    given = dict(options or {})
    if name in _PAIRS and "pairs" not in given:
        if dataset not in _PAIRS[name]:
            raise ValueError(f"pattern {name} has no class pairs for {dataset!r}; give the pattern option pairs")
        given["pairs"] = _PAIRS[name][dataset]
    for option in given:
        check_name(
            f"option of pattern {name}", option, [field for field in kind.__dataclass_fields__ if field != "rate"]
        )
    return kind(rate=rate, **given)  # pyright: ignore[reportCallIssue]  # a protocol does not say how it is made


def with_rate(pattern: NoisePattern, rate: float) -> NoisePattern:
    """The same pattern at another noise rate, in [0, 1]."""
    return replace(pattern, rate=rate)
