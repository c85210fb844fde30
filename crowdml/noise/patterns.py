"""Noise patterns by name.  A pattern gives the transition matrix of a worker.

"uniform", "bimodal" and "flip" are the patterns of LABNET (Ghiassi, Birke, Chen; VISAPP 2022).  The paper describes
them in words only.  The defaults here reproduce the paper's numbers for labels; options give other interpretations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from crowdml.noise.class_pairs import ASYMMETRIC_PAIRS, FLIP_PAIRS
from crowdml.noise.mapped import Flip, Pair, Permutation
from crowdml.noise.options import make_with_options
from crowdml.noise.spread import Bimodal, ItemDifficulty, RandomSimplex, Uniform
from crowdml.support.names import check_name


class NoisePattern(Protocol):
    """The distribution of a label given the true class, as a dataclass of the noise rate and of options."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def rate(self) -> float:
        """The noise rate."""
        ...

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return (n_classes, n_classes): row t is the distribution of the given label for true class t."""
        ...

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """Return (n_classes,): True for the classes whose labels can be wrong."""
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
    """Return the pattern with this name.

    Args:
        name: one of PATTERNS.
        rate: noise rate in [0, 1).
        dataset: the data set whose class pairs "flip" and "asymmetric" use, if the options give no pairs.
        options: the other fields of the pattern's class.

    Raises:
        ValueError: the name or an option is unknown, the rate is out of range, or the data set has no class pairs.
    """
    kind = PATTERNS[check_name("noise pattern", name, PATTERNS)]
    if not 0 <= rate < 1:
        raise ValueError(f"noise_rate must be in [0, 1), got {rate}")
    given = dict(options or {})
    if name in _PAIRS and "pairs" not in given:
        if dataset not in _PAIRS[name]:
            raise ValueError(f"pattern {name} has no class pairs for {dataset!r}; give the pattern option pairs")
        given["pairs"] = _PAIRS[name][dataset]
    return make_with_options(f"pattern {name}", kind, given, rate=rate)


def with_rate(pattern: NoisePattern, rate: float) -> NoisePattern:
    """Return the same pattern at another noise rate, in [0, 1]."""
    return replace(pattern, rate=rate)
