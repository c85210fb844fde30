"""Worker models: turn a noise pattern into one transition matrix per worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crowdml.noise.options import make_with_options
from crowdml.noise.patterns import NoisePattern, with_rate
from crowdml.noise.separable import DiagonallyDominant, RandomMatrices, SeparableRandom, SeparableUniform
from crowdml.noise.worker_model import WorkerModel, Workers
from crowdml.support.names import check_name


class _Shares:
    """A worker model whose options all lie in [0, 1]."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")


@dataclass(frozen=True)
class Homogeneous:
    """Every worker has the same matrix.  This model fits the LABNET tables."""

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        return Workers(np.broadcast_to(pattern.transition(n_classes, rng), (n_workers, n_classes, n_classes)))


@dataclass(frozen=True)
class HammerSpammer(_Shares):
    """A hammer follows the pattern.  A spammer draws uniformly from all classes (Karger, Oh, Shah, NIPS 2011).

    Args:
        hammers: probability that a worker is a hammer, in [0, 1].
    """

    hammers: float = 0.5

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        spammer = np.full((n_classes, n_classes), 1 / n_classes)
        streams = rng.spawn(n_workers)
        made = [pattern.transition(n_classes, own) if own.random() < self.hammers else spammer for own in streams]
        return Workers(np.stack(made))


@dataclass(frozen=True)
class BetaAbility:
    """Each worker draws his noise rate from a Beta distribution, whose mean is the rate of the pattern.

    Args:
        concentration: the sum of the two Beta parameters, above 0.  A smaller value makes the workers differ more.
    """

    concentration: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.concentration < np.inf:
            raise ValueError(f"concentration must be above 0, got {self.concentration}")

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        first, second = pattern.rate * self.concentration, (1 - pattern.rate) * self.concentration
        made = []
        for stream in rng.spawn(n_workers):
            rate = float(stream.beta(first, second)) if pattern.rate > 0 else 0.0
            made.append(with_rate(pattern, rate).transition(n_classes, stream))
        return Workers(np.stack(made))


@dataclass(frozen=True)
class ExpertsAmongBeginners(_Shares):
    """Some workers are experts.  The other workers err at the noise rate.

    Args:
        experts: probability that a worker is an expert, in [0, 1].
        expert_rate: noise rate of an expert, in [0, 1].
    """

    experts: float = 0.2
    expert_rate: float = 0.05

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        expert = with_rate(pattern, self.expert_rate)
        streams = rng.spawn(n_workers)
        followed = (expert if stream.random() < self.experts else pattern for stream in streams)
        made = [one.transition(n_classes, stream) for one, stream in zip(followed, streams, strict=True)]
        return Workers(np.stack(made))


@dataclass(frozen=True)
class ColludingCopies(_Shares):
    """Some workers copy the answers of the first worker.

    Args:
        copiers: probability that a worker copies the first worker, in [0, 1].
    """

    copiers: float = 0.5

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        streams = rng.spawn(n_workers)
        copies = np.array([stream.random() < self.copiers for stream in streams])
        source = np.where(copies, 0, np.arange(n_workers))
        own = np.stack([pattern.transition(n_classes, stream) for stream in streams])
        return Workers(own[source], source)


@dataclass(frozen=True)
class Adversaries(_Shares):
    """Some workers draw a label like the other workers, and then answer another class on purpose.

    Args:
        adversaries: probability that a worker is an adversary, in [0, 1].
    """

    adversaries: float = 0.2

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel.

        Raises:
            ValueError: there are fewer than two classes.
        """
        if n_classes < 2:
            raise ValueError(f"adversaries need at least 2 classes, got {n_classes}")
        another = (1 - np.eye(n_classes)) / (n_classes - 1)
        made = []
        for stream in rng.spawn(n_workers):
            lies = stream.random() < self.adversaries
            seen = pattern.transition(n_classes, stream)
            made.append(seen @ another if lies else seen)
        return Workers(np.stack(made))


@dataclass(frozen=True)
class ClassWiseExperts(_Shares):
    """Each worker knows some classes, drawn at random, and errs at the noise rate on the other classes.

    Args:
        known_classes: probability that a worker knows a class, in [0, 1].
        expert_rate: noise rate on a class that the worker knows, in [0, 1].
    """

    known_classes: float = 0.5
    expert_rate: float = 0.05

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        expert = with_rate(pattern, self.expert_rate)
        made = []
        for stream in rng.spawn(n_workers):
            good = stream.random(n_classes) < self.known_classes
            matrix = pattern.transition(n_classes, stream)
            matrix[good] = expert.transition(n_classes, stream)[good]
            made.append(matrix)
        return Workers(np.stack(made))


WORKER_MODELS: dict[str, type[WorkerModel]] = {
    "homogeneous": Homogeneous,
    "hammer_spammer": HammerSpammer,
    "beta_ability": BetaAbility,
    "experts_among_beginners": ExpertsAmongBeginners,
    "colluding_copies": ColludingCopies,
    "adversaries": Adversaries,
    "class_wise_experts": ClassWiseExperts,
    "random": RandomMatrices,
    "diagonally_dominant": DiagonallyDominant,
    "separable_uniform": SeparableUniform,
    "separable_random": SeparableRandom,
}


def make_worker_model(name: str, options: Mapping[str, Any] | None = None) -> WorkerModel:
    """Return the worker model with this name.

    Raises:
        ValueError: the name or an option is unknown, or an option is out of range.
    """
    kind = WORKER_MODELS[check_name("worker model", name, WORKER_MODELS)]
    return make_with_options(f"worker model {name}", kind, options or {})


def make_workers(
    model: str,
    pattern: NoisePattern,
    n_workers: int,
    n_classes: int,
    rng: np.random.Generator,
    options: Mapping[str, Any] | None = None,
) -> Workers:
    """Return the workers of a model.  A small crowd is the start of a larger crowd.

    Args:
        model: one of WORKER_MODELS.
        pattern: how the workers err.
        n_workers, n_classes: the numbers of workers and classes.
        rng: the generator of all draws.
        options: fields of the model's class.

    Raises:
        ValueError: the model or an option is unknown, an option is out of range, or n_workers is below 1.
    """
    if n_workers < 1:
        raise ValueError(f"n_workers must be at least 1, got {n_workers}")
    return make_worker_model(model, options).workers(pattern, n_workers, n_classes, rng)
