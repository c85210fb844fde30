"""Grids as plain data: blocks of axes, their cells, and the network and recipe of each data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any

from crowdml.datasets import crowd_names, crowd_names_with_inputs, has_images, n_train_items, names
from crowdml.experiment.axes import CellError, must_be_one_of
from crowdml.experiment.cell import COLUMNS, Cell, cell_of
from crowdml.experiment.columns import Column
from crowdml.learning.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Block:
    """All combinations of the values of the axes; cells that differ only in the method see the same crowd.

    Args:
        datasets, patterns, noise_rates, workers, missing_rates, worker_models, assignments, methods, seeds: the axes.
            For real workers the data set is their crowd, the pattern is "real", the noise rate is None, and `workers`
            is None (all workers) or a number.
        other_axes: field of a cell -> values, for the fields in OTHER_AXES.
        train: whether networks are trained on the data sets with images or features; else labels are only aggregated.
        network: name of the network; None takes the network of the data set in TRAINING.
        recipe: how the network is trained; None takes the recipe of the data set in TRAINING.
        epochs: training epochs; the schedule of the recipe is scaled to them.  None takes the epochs of the recipe.
        n_train: training items; None is all.
        missing: the rule that turns a missing rate into a number of labels.
        method_options: method -> options.
        pattern_options: pattern -> options.
        worker_options: worker model -> options.
        assignment_options: assignment -> options.
    """

    datasets: tuple[str, ...]
    patterns: tuple[str, ...] = ("uniform", "bimodal", "flip")
    noise_rates: tuple[float | None, ...] = (0.6,)
    workers: tuple[int | None, ...] = (3, 9)
    missing_rates: tuple[float, ...] = (0.0,)
    worker_models: tuple[str, ...] = ("homogeneous",)
    assignments: tuple[str, ...] = ("every_item",)
    methods: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    other_axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    train: bool = True
    network: str | None = None
    recipe: Recipe | None = None
    epochs: int | None = None
    n_train: int | None = None
    missing: str = "floor"
    method_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pattern_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    worker_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    assignment_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def cells(self) -> list[Cell]:
        """Return the cells, ordered by the other axes, then by seed, then by method.

        Raises:
            CellError: an unknown name or a value out of range.
        """
        crowd_axes = {name: getattr(self, axis) for axis, name in AXES.items() if name not in ("seed", "method")}
        axes = {**crowd_axes, **self.other_axes, "seed": self.seeds, "method": self.methods}
        return [self._cell(dict(zip(axes, values, strict=True))) for values in product(*axes.values())]

    def _cell(self, values: dict[str, Any]) -> Cell:
        dataset = values["dataset"]
        known = [*names(), *crowd_names()]
        if dataset not in known:
            raise CellError("dataset", dataset, must_be_one_of(dataset, known))
        options = {name: getattr(self, name).get(values[axis], {}) for name, axis in OPTIONS.items()}
        single = {"n_train": self.n_train, "missing": self.missing}
        cell = cell_of({**single, **self._training(dataset), **options, **values})
        if cell.n_train is not None and dataset in names() and cell.n_train > n_train_items(dataset):
            raise CellError("n_train", cell.n_train, f"must be in [1, {n_train_items(dataset)}] for {dataset}")
        return cell

    def _training(self, dataset: str) -> dict[str, Any]:
        has_inputs = has_images(dataset) if dataset in names() else dataset in crowd_names_with_inputs()
        if not (self.train and has_inputs):
            return {}
        own_network, own_recipe = TRAINING[dataset]
        recipe = self.recipe or own_recipe
        if self.epochs is not None:
            if self.epochs < 1:
                raise CellError("epochs", self.epochs, "must be at least 1")
            recipe = shorten(recipe, self.epochs)
        return {"network": own_network if self.network is None else self.network, "recipe": recipe}


AXES = {column.axis.plural: name for name, column in COLUMNS.items() if column.axis.plural}
"""Field of a block with the values of an axis -> field of a cell with one of these values."""
OTHER_AXES = tuple(
    name for name, column in COLUMNS.items() if name not in AXES.values() and not column.axis.kind.is_json
)
"""Fields of a cell without a list of their own in a block."""
OPTIONS = {name: str(column.axis.follows) for name, column in COLUMNS.items() if name.endswith("_options")}
"""Field with options, in a block and in a cell -> field of a cell with the name to which the options belong."""


def axis_options() -> dict[str, Column]:
    """Return the axes that a command line offers: the lists of a block, and the fields of a cell for `other_axes`."""
    known = {*AXES.values(), *(item.name for item in fields(Block))}
    others = {name: column for name, column in COLUMNS.items() if name not in known}
    return {**{axis: COLUMNS[name] for axis, name in AXES.items()}, **others}


def with_axes(block: Block, values: Mapping[str, Sequence[Any]]) -> Block:
    """Return the block with some axes replaced, named as in `axis_options`."""
    own = {name: tuple(listed) for name, listed in values.items() if name in AXES}
    others = {name: tuple(listed) for name, listed in values.items() if name not in AXES}
    return replace(block, **own, other_axes={**block.other_axes, **others})


@dataclass(frozen=True)
class Preset:
    """A named grid; the description is one line for help texts."""

    description: str
    blocks: tuple[Block, ...]

    def cells(self) -> list[Cell]:
        """Return all cells in the order of the blocks; a cell of several blocks occurs once."""
        return list({cell.id: cell for block in self.blocks for cell in block.cells()}.values())


def with_changes(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some fields replaced; another number of epochs also scales the schedule."""
    if "epochs" in changes:
        recipe = shorten(recipe, changes["epochs"])
    return replace(recipe, **changes)


def shorten(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe with this number of epochs and its schedule scaled in proportion."""
    milestones = tuple(max(1, round(at * epochs / recipe.epochs)) for at in recipe.milestones)
    return replace(
        recipe,
        epochs=epochs,
        milestones=tuple(at for at in milestones if at < epochs),
        decay_from=min(round(recipe.decay_from * epochs / recipe.epochs), epochs - 1),
    )


# The strong decay keeps the small network from memorising wrong labels, as LABNET's decay (5e-3, lr 0.1) does on CIFAR.
_DIGITS = Recipe(epochs=15, batch_size=64, lr=0.05, weight_decay=2e-2, milestones=(5, 10))
_LENET = Recipe(epochs=20, batch_size=128, lr=0.01, weight_decay=5e-4, milestones=(14,))
_CROWD = Recipe(epochs=50, batch_size=64, lr=1e-3, weight_decay=0.0, optimizer="adam")

TRAINING: dict[str, tuple[str, Recipe]] = {
    "digits": ("cnn_digits", _DIGITS),
    "mnist": ("lenet", _LENET),
    "fashion_mnist": ("lenet", _LENET),
    # LABNET: SGD 0.9, weight decay 5e-3, lr 0.1; 120 epochs, /10 after 40 and 80; 150 epochs, /10 after 80 and 120.
    "cifar10": ("cnn8", Recipe(epochs=120, milestones=(40, 80), augment="crop_flip")),
    "cifar100": ("resnet44", Recipe(epochs=150, milestones=(80, 120), augment="crop_flip")),
    "cifar10n": ("cnn8", Recipe(epochs=120, milestones=(40, 80), augment="crop_flip")),
    # As Rodrigues and Pereira (AAAI 2018) train on LabelMe: Adam 1e-3, batches of 64, 50 epochs.
    "labelme": ("mlp128", _CROWD),
    "music": ("mlp128_bn", _CROWD),
    "sentiment": ("mlp128", replace(_CROWD, inputs="unit")),
}
"""Data set -> its network and recipe, if a block does not give others."""
