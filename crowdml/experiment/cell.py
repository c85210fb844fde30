"""Cell: everything that determines one result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from crowdml import methods, networks
from crowdml.datasets import crowd_names, crowd_names_with_inputs, has_images, names
from crowdml.learning.recipe import Recipe
from crowdml.noise import MISSING_RULES, PATTERNS, make_assignment, make_worker_model
from crowdml.noise.machine_annotators import make_machine_annotators
from crowdml.support.names import check_name

Options = tuple[tuple[str, Any], ...]

REAL = "real"
"""The pattern of a cell whose data set is a crowd of real workers."""
MACHINES = "machine_annotators"
"""The pattern of a cell whose workers are classifiers that learned from few images."""

_ADDED_LATER = {"worker_options": (), "assignment": "every_item", "assignment_options": ()}
"""Fields that older cells do not have.  Left out of the id and the crowd's seed where they hold these values."""
_SIMULATED = {"pattern_options": (), "worker_model": "homogeneous", **_ADDED_LATER, "n_train": None}
"""What a cell of a real crowd has nothing to say about."""
_OF_PATTERNS = {"noise_rate": None, "worker_model": "homogeneous", "worker_options": ()}
"""What a cell of machine annotators has nothing to say about."""
_NOT_OF_THE_CROWD = {"method", "method_options", "network", "recipe"}
_OPTIONS = ("pattern_options", "worker_options", "assignment_options", "method_options")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Everything that determines one result.

    A cell of simulated workers names a data set of images or labels and a noise pattern.  A cell of machine annotators
    has a data set of images, "machine_annotators" as its pattern, no noise rate and no worker model.  A cell of real
    workers names their crowd as its data set and "real" as its pattern; it has no noise rate, and may have a number of
    workers.

    Args:
        dataset: name of a data set.
        pattern: name of a noise pattern, "machine_annotators" or "real".
        noise_rate: probability that a worker's label is drawn by the pattern instead of being right, in [0, 1).
        n_workers: workers simulated; of a real crowd how many, drawn at random, or None for all.
        missing_rate: share of an item's labels removed, in [0, 1).
        method: name of a method.
        seed: of the crowd, the network and the training.
        network: name of a network, or None to aggregate only.
        recipe: how the network is trained; given exactly when a network is.
        n_train: training items used; None is all.
        worker_model: name of a worker model.
        missing: how a missing rate becomes a number of labels: "floor", "round" or "bernoulli".
        pattern_options: options of the noise pattern; a mapping, or (name, value) pairs.
        method_options: options of the method, likewise.
        worker_options: options of the worker model, likewise.
        assignment: name of the design that says which workers are asked about an item.
        assignment_options: its options.

    Raises:
        ValueError: an unknown name or a value out of range, in the user's terms.
    """

    dataset: str
    pattern: str
    noise_rate: float | None = None
    n_workers: int | None = None
    missing_rate: float
    method: str
    seed: int
    network: str | None = None
    recipe: Recipe | None = None
    n_train: int | None = None
    worker_model: str = "homogeneous"
    missing: str = "floor"
    pattern_options: Options = ()
    method_options: Options = ()
    worker_options: Options = ()
    assignment: str = "every_item"
    assignment_options: Options = ()

    def __post_init__(self) -> None:
        for name in _OPTIONS:
            object.__setattr__(self, name, _freeze_options(getattr(self, name)))
        object.__setattr__(self, "missing_rate", _check_rate("missing_rate", self.missing_rate))
        if self.n_workers is not None and self.n_workers < 1:
            raise ValueError(f"n_workers must be at least 1, got {self.n_workers}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        check_name("missing rule", self.missing, MISSING_RULES)
        if self.n_train is not None and self.n_train < 1:
            raise ValueError(f"n_train must be at least 1, got {self.n_train}")
        self._check_crowd()
        self._check_method()

    def _check_crowd(self) -> None:
        check_name("noise pattern", self.pattern, [*PATTERNS, MACHINES, REAL])
        if self.pattern == REAL:
            self._check_real()
            return
        if self.dataset in crowd_names():
            raise ValueError(f'{self.dataset} is a crowd of real workers; its pattern is "real", got {self.pattern!r}')
        if self.pattern == MACHINES:
            self._check_machines()
        elif self.noise_rate is None or self.n_workers is None:
            raise ValueError(f"pattern {self.pattern} needs noise_rate and n_workers")
        else:
            object.__setattr__(self, "noise_rate", _check_rate("noise_rate", self.noise_rate))
            make_worker_model(self.worker_model, dict(self.worker_options))
        assert self.n_workers is not None
        make_assignment(self.assignment, dict(self.assignment_options)).n_labels(self.n_workers)

    def _check_machines(self) -> None:
        if self.n_workers is None:
            raise ValueError(f"pattern {MACHINES} needs n_workers")
        for name, default in _OF_PATTERNS.items():
            if getattr(self, name) != default:
                raise ValueError(f"machine annotators err as they have learned and have no {name}; leave it out")
        if self.dataset in names() and not has_images(self.dataset):
            raise ValueError(f"machine annotators look at images, and {self.dataset} has labels only")
        make_machine_annotators(dict(self.pattern_options))

    def _check_real(self) -> None:
        check_name("real crowd", self.dataset, crowd_names())
        if self.noise_rate is not None:
            raise ValueError(f"{self.dataset} is a crowd of real workers, who have no noise_rate; leave it out")
        for name, default in _SIMULATED.items():
            if getattr(self, name) != default:
                raise ValueError(f"{self.dataset} is a crowd of real workers, who have no {name}; leave it out")
        if self.network is not None and self.dataset not in crowd_names_with_inputs():
            listed = ", ".join(crowd_names_with_inputs())
            raise ValueError(
                f"the items of {self.dataset} are not at hand, so no network is trained on it; leave it out, or take "
                f"one of {listed}"
            )

    def _check_method(self) -> None:
        if self.network is None and methods.needs_network(self.method):
            raise ValueError(f"method {self.method} trains a network; give network and recipe")
        object.__setattr__(self, "method", methods.canonical(self.method))
        if self.network is not None:
            check_name("network", self.network, networks.names())
        if (self.network is None) != (self.recipe is None):
            raise ValueError(f"network and recipe go together, got network={self.network!r} recipe={self.recipe!r}")

    @property
    def is_real(self) -> bool:
        """Whether the workers are real ones."""
        return self.pattern == REAL

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits: a hash of the cell's content and of its method's version."""
        content = {**self.to_dict(), "method_version": methods.version(self.method, labels_only=self.network is None)}
        for name, default in _ADDED_LATER.items():
            if getattr(self, name) == default:
                del content[name]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def crowd_seed(self) -> int:
        """Seed of the crowd: never depends on the method, the network, the missing rate or the worker count."""
        key = [self.dataset, self.n_train, self.pattern, self.noise_rate, self.pattern_options, self.worker_model]
        added = {name: getattr(self, name) for name, default in _ADDED_LATER.items() if getattr(self, name) != default}
        text = json.dumps([*key, *([added] if added else []), self.seed])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    @property
    def crowd_key(self) -> tuple[Any, ...]:
        """What the crowd depends on: all but the method, the network and the recipe; equal for cells that share it."""
        return tuple(getattr(self, item.name) for item in fields(self) if item.name not in _NOT_OF_THE_CROWD)

    def to_dict(self) -> dict[str, Any]:
        """The cell as JSON-able values."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        content["recipe"] = None if self.recipe is None else self.recipe.to_dict()
        for name in _OPTIONS:
            content[name] = dict(content[name])
        return json.loads(json.dumps(content))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Cell:
        """The inverse of `to_dict`."""
        recipe = content["recipe"]
        return cls(**{**content, "recipe": None if recipe is None else Recipe(**recipe)})


def _check_rate(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {float(value):g}")
    return float(value)


def _freeze_options(options: Mapping[str, Any] | Options) -> Options:
    pairs = options.items() if isinstance(options, Mapping) else options
    return tuple(sorted((str(name), _freeze(value)) for name, value in pairs))


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, (list, tuple)) else value
