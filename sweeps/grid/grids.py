"""Grids as plain data: blocks of axes -> cells, and what each data set is trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from crowdml.datasets import crowd_names, crowd_names_with_inputs, has_images, n_train_items, names
from crowdml.experiment.cell import Cell
from crowdml.learning.recipe import Recipe
from crowdml.support.names import check_name


@dataclass(frozen=True, kw_only=True)
class Block:
    """A product of axes; every method of a combination sees the same crowd.

    Args:
        datasets, patterns, noise_rates, workers, missing_rates, worker_models, assignments, methods, seeds: the axes.
            A crowd of real workers is a data set, with the pattern "real", the noise rate None, and None or a number of
            workers.
        train: whether a network is trained (where the data set has images or features), or only labels aggregated.
        network: its name; None is the data set's own in TRAINING.
        recipe: how it is trained; None is the data set's own in TRAINING.
        epochs: training epochs; None is those of the recipe, else its schedule is scaled.
        n_train: training items; None is all.
        missing: how a missing rate becomes a number of labels.
        method_options: method -> options, for the methods named.
        pattern_options: pattern -> options, likewise.
        worker_options: worker model -> options, likewise.
        assignment_options: assignment -> options, likewise.
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
        """The cells, seed by seed, the methods of one crowd together.

        Raises:
            ValueError: an unknown name or a value out of range.
        """
        axes = (
            self.datasets, self.patterns, self.noise_rates, self.workers, self.missing_rates, self.worker_models,
            self.assignments,
        )  # fmt: skip
        return [self._cell(*combination) for combination in product(*axes, self.seeds, self.methods)]

    def _cell(
        self,
        dataset: str,
        pattern: str,
        noise_rate: float | None,
        n_workers: int | None,
        missing_rate: float,
        worker_model: str,
        assignment: str,
        seed: int,
        method: str,
    ) -> Cell:
        check_name("data set", dataset, [*names(), *crowd_names()])
        is_images = dataset in names()
        trains = self.train and (has_images(dataset) if is_images else dataset in crowd_names_with_inputs())
        network, recipe = self._training(dataset) if trains else (None, None)
        if is_images and self.n_train is not None and self.n_train > n_train_items(dataset):
            raise ValueError(f"n_train must be in [1, {n_train_items(dataset)}] for {dataset}, got {self.n_train}")
        return Cell(
            dataset=dataset,
            pattern=pattern,
            noise_rate=noise_rate,
            n_workers=n_workers,
            missing_rate=missing_rate,
            method=method,
            seed=seed,
            network=network,
            recipe=recipe,
            n_train=self.n_train,
            worker_model=worker_model,
            missing=self.missing,
            pattern_options=tuple(self.pattern_options.get(pattern, {}).items()),
            method_options=tuple(self.method_options.get(method, {}).items()),
            worker_options=tuple(self.worker_options.get(worker_model, {}).items()),
            assignment=assignment,
            assignment_options=tuple(self.assignment_options.get(assignment, {}).items()),
        )

    def _training(self, dataset: str) -> tuple[str, Recipe]:
        own_network, own_recipe = TRAINING[dataset]
        recipe = self.recipe or own_recipe
        return self.network or own_network, recipe if self.epochs is None else shorten(recipe, self.epochs)


@dataclass(frozen=True)
class Preset:
    """A named grid.

    Args:
        description: one line for `--help`.
        blocks: whose cells it holds, each once.
    """

    description: str
    blocks: tuple[Block, ...]

    def cells(self) -> list[Cell]:
        """All cells, each once, in the blocks' order."""
        return list({cell.id: cell for block in self.blocks for cell in block.cells()}.values())


def with_changes(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with some fields replaced; another number of epochs also moves where its schedule turns."""
    if "epochs" in changes:
        recipe = shorten(recipe, changes["epochs"])
    return replace(recipe, **changes)


def shorten(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with that many epochs, the points where its schedule turns moved in proportion."""
    milestones = tuple(max(1, round(at * epochs / recipe.epochs)) for at in recipe.milestones)
    return replace(
        recipe,
        epochs=epochs,
        milestones=tuple(at for at in milestones if at < epochs),
        decay_from=min(round(recipe.decay_from * epochs / recipe.epochs), epochs - 1),
    )


# The strong decay keeps the small network from memorising wrong labels, as LABNET's own (5e-3 at lr 0.1) does on CIFAR.
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
"""Data set -> the network and recipe it is trained with unless a block says otherwise."""
