"""Cell: everything that determines one result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from crowdml import methods, networks
from crowdml.datasets import crowd_names, crowd_names_with_inputs, has_images, n_classes, names
from crowdml.experiment.axes import (
    MOST_ITEMS,
    CellError,
    Kind,
    OptionError,
    Options,
    axis,
    check_axes,
    check_made,
    must_be_one_of,
)
from crowdml.experiment.columns import build, columns, columns_of, id_of, parts
from crowdml.experiment.crowd_types import CROWD_TYPES, Crowd, MachineAnnotators, Real, Simulated, crowd_type
from crowdml.learning.recipe import Recipe
from crowdml.noise import make_pattern, make_workers


@dataclass(frozen=True, kw_only=True)
class Training:
    """A network, by name, and the recipe by which it is trained.

    Raises:
        CellError: an unknown name.
    """

    has: ClassVar[str] = "a network has"

    network: str = axis(Kind.TEXT, "network", names=tuple(networks.names()), follows="dataset")
    recipe: Recipe = axis(Kind.RECIPE, "how the network is trained", follows="dataset")

    def __post_init__(self) -> None:
        check_axes(self)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Everything that determines one result.

    Args:
        dataset: name of a data set of images or true classes; for real workers, name of their crowd.
        n_train: number of training items used; None uses all.
        training: the network and its recipe; None aggregates only.
        crowd: the workers, and how they label.
        method: name of a method.
        method_options: options of the method; a mapping, or (name, value) pairs.
        seed: seed of the crowd, the network and the training.

    Raises:
        CellError: an unknown name, a value out of range, or values that do not go together.
    """

    dataset: str = axis(Kind.TEXT, "data set", plural="datasets")
    n_train: int | None = axis(
        Kind.WHOLE,
        "training items used",
        default=None,
        at_least=1,
        most=MOST_ITEMS,
        follows="dataset",
        unit="items",
    )
    training: Training | None = parts(
        "network", lambda name: None if name is None else Training, Training, default=None
    )
    crowd: Crowd = parts("pattern", crowd_type, *CROWD_TYPES)
    method: str = axis(Kind.TEXT, "method", panel=False, plural="methods")
    method_options: Options = axis(
        Kind.OPTIONS, "options of the method", default=(), panel=False, costs=False, follows="method"
    )
    seed: int = axis(Kind.WHOLE, "seed", at_least=0, panel=False, costs=False, plural="seeds")

    def __post_init__(self) -> None:
        check_axes(self)
        if not isinstance(self.crowd, CROWD_TYPES):
            raise CellError("crowd", self.crowd, f"must be one of {', '.join(kind.__name__ for kind in CROWD_TYPES)}")
        if not isinstance(self.training, Training | None):
            raise CellError("training", self.training, "must be a Training or None")
        self._check_crowd()
        try:
            object.__setattr__(self, "method", methods.canonical(self.method))
        except (ValueError, TypeError) as error:
            raise OptionError("method", self.method, str(error)) from error
        if self.training is None and methods.needs_network(self.method):
            raise CellError("method", self.method, "needs a network and a recipe, because it trains a network")

    def _check_crowd(self) -> None:
        real = self.dataset in crowd_names()
        if isinstance(self.crowd, Real):
            if not real:
                raise CellError("dataset", self.dataset, must_be_one_of(self.dataset, crowd_names()))
            if self.n_train is not None:
                raise CellError(
                    "n_train", self.n_train, "must be left out, because a crowd of real workers is used whole"
                )
            if self.training is not None and self.dataset not in crowd_names_with_inputs():
                listed = ", ".join(crowd_names_with_inputs())
                raise CellError(
                    "network", self.training.network,
                    f"must be left out, because the items of {self.dataset} are not available (they are for {listed})",
                )  # fmt: skip
        elif real:
            raise CellError("pattern", self.crowd.pattern, f'must be "real", because {self.dataset} has real workers')
        elif isinstance(self.crowd, MachineAnnotators) and self.dataset in names() and not has_images(self.dataset):
            raise CellError("dataset", self.dataset, "must have images, because machine annotators look at them")

    @property
    def network(self) -> str | None:
        """Name of the trained network; None if the cell aggregates only."""
        return None if self.training is None else self.training.network

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits: a hash of the values of the cell and the version of its method."""
        return id_of(type(self), columns_of(self), methods.version(self.method, labels_only=self.training is None))

    @property
    def crowd_seed(self) -> int:
        """Seed of the crowd.

        The seed does not depend on the method and the training, so that all methods see the same labels.  The seed
        does not depend on sizes, so that a smaller crowd is a part of a larger crowd.  The seed is a hash of six core
        fields, the further fields of the crowd that differ from their defaults, and the seed of the cell.  A core field
        that the crowd lacks counts as its default.  Therefore a new field changes no existing crowd.
        """
        known = columns(type(self))
        core = [getattr(self.crowd, name, known[name].default) for name in _CORE]
        further = {
            name: value
            for name, column in known.items()
            if column.part == "crowd" and column.axis.draws and name not in _CORE
            if not column.is_default(value := column.value(self))
        }
        text = json.dumps([self.dataset, self.n_train, *core, *([further] if further else []), self.seed])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    @property
    def crowd_key(self) -> tuple[Any, ...]:
        """All values on which the crowd depends; equal for cells with the same crowd."""
        return (self.dataset, self.n_train, self.crowd, self.seed, self.crowd_seed)


_CORE = ("pattern", "noise_rate", "pattern_options", "worker_model")

COLUMNS = columns(Cell)
"""The columns of a cell by name."""


def cell_of(values: Mapping[str, Any]) -> Cell:
    """Make a cell from one value per column, see `columns.build`; options may be mappings."""
    return build(Cell, values)


def cell_from(row: Mapping[str, Any]) -> Cell:
    """Make the cell of a row of the results, see `columns.build`; the inverse of `columns_of`."""
    return build(Cell, {name: COLUMNS[name].load(stored) for name, stored in row.items() if name in COLUMNS})


def check_options(cell: Cell) -> None:
    """Check the options of the method and of the pattern of a cell.

    Cell does not check them itself, because the check imports the code of the method.

    Raises:
        CellError: an unknown option, or a value out of range.
    """
    # A method of the registry can always be made without options.  Its import would need torch.
    if cell.method_options or ":" in cell.method:
        resolve = partial(methods.resolve, cell.method, labels_only=cell.training is None)
        check_made("method_options", cell.method_options, resolve)
    if isinstance(cell.crowd, Simulated):
        _check_crowd_options(cell.crowd, cell.dataset)


def _check_crowd_options(crowd: Simulated, dataset: str) -> None:
    """Check the options of pattern and worker model, also against the number of classes of the data set."""
    n_found = n_classes(dataset) if dataset in names() else None

    def workers(pattern_options: dict[str, Any], model: str, options: dict[str, Any]) -> None:
        pattern = make_pattern(crowd.pattern, crowd.noise_rate, dataset, pattern_options)
        if n_found is not None and (pattern_options or options):
            make_workers(model, pattern, 2, n_found, np.random.default_rng(0), options)

    check_made("pattern_options", crowd.pattern_options, lambda options: workers(options, "homogeneous", {}))
    given = dict(crowd.pattern_options)
    check_made("worker_options", crowd.worker_options, lambda options: workers(given, crowd.worker_model, options))
