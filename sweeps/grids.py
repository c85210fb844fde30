"""Grids as plain data: blocks of axes -> cells, and the presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from crowdml.cell import REAL, Cell
from crowdml.datasets import crowd_names, crowd_source, has_images, n_train_items, names
from crowdml.learning.recipe import Recipe
from crowdml.methods import REGISTRY
from crowdml.names import check_name


@dataclass(frozen=True, kw_only=True)
class Block:
    """A product of axes; every method of a combination sees the same crowd.

    Args:
        datasets, patterns, noise_rates, workers, missing_rates, worker_models, assignments, methods, seeds: the axes.
            A crowd of real workers is a data set, with the pattern "real", the noise rate None, and None or a number of
            workers.
        train: whether a network is trained (where the data set has images), or only labels aggregated.
        network: its name; None is the data set's own in TRAINING.
        epochs: training epochs; None is those of TRAINING, else its schedule is scaled.
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
        trains = self.train and is_images and has_images(dataset)
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
        network, recipe = TRAINING[dataset]
        return self.network or network, recipe if self.epochs is None else shorten(recipe, self.epochs)


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


def grid_cells(preset: str, overrides: Mapping[str, Any]) -> list[Cell]:
    """The cells of a preset with some of the blocks' fields replaced.

    Args:
        preset: one of PRESETS.
        overrides: Block field -> value.

    Raises:
        ValueError: unknown preset or name, or a value out of range.
    """
    chosen = PRESETS[check_name("preset", preset, PRESETS)]
    blocks = tuple(replace(block, **overrides) for block in chosen.blocks)
    return replace(chosen, blocks=blocks).cells()


def shorten(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with that many epochs, its milestones moved in proportion."""
    milestones = tuple(max(1, round(at * epochs / recipe.epochs)) for at in recipe.milestones)
    return replace(recipe, epochs=epochs, milestones=tuple(at for at in milestones if at < epochs))


# The strong decay keeps the small network from memorising wrong labels, as LABNET's own (5e-3 at lr 0.1) does on CIFAR.
_DIGITS = Recipe(epochs=15, batch_size=64, lr=0.05, weight_decay=2e-2, milestones=(5, 10))
_LENET = Recipe(epochs=20, batch_size=128, lr=0.01, weight_decay=5e-4, milestones=(14,))

TRAINING: dict[str, tuple[str, Recipe]] = {
    "digits": ("cnn_digits", _DIGITS),
    "mnist": ("lenet", _LENET),
    "fashion_mnist": ("lenet", _LENET),
    # LABNET: SGD 0.9, weight decay 5e-3, lr 0.1; 120 epochs, /10 after 40 and 80; 150 epochs, /10 after 80 and 120.
    "cifar10": ("cnn8", Recipe(epochs=120, milestones=(40, 80), augment="crop_flip")),
    "cifar100": ("resnet44", Recipe(epochs=150, milestones=(80, 120), augment="crop_flip")),
}
"""Data set -> the network and recipe it is trained with unless a block says otherwise."""

# The EM that fits the paper's EM column: from the majority vote, at most ten iterations.
_PAPER_EM = {"init": "majority", "max_iter": 10}
_PAPER_OPTIONS = {"em": _PAPER_EM, "em_hard": _PAPER_EM}
_PAPER_METHODS = ("mv", "em", "minimax_entropy", "labnet", "labnet_instance")
_LABEL_SETS = ("cifar10_labels", "cifar100_labels")

_TABLE1 = Block(
    datasets=("cifar10",),
    workers=(3, 9),
    missing_rates=(0.0, 0.1, 0.3),
    methods=_PAPER_METHODS,
    method_options=_PAPER_OPTIONS,
)
_TABLE2 = replace(_TABLE1, datasets=("cifar100",))
_FIGURES = replace(_TABLE1, datasets=("cifar10", "cifar100"), workers=(3, 6, 9, 12))

_AGGREGATORS = tuple(name for name, entry in REGISTRY.items() if entry.kind == "aggregator")
_ANY_CLASSES = tuple(name for name in _AGGREGATORS if not REGISTRY[name].two_classes_only)


def _real_crowds() -> tuple[Block, ...]:
    """All aggregators on all crowds of real workers with something to aggregate that no other holds.

    The labels of music are those of ms, and cifar100n has one label an item.
    """
    chosen = [name for name in crowd_names() if name not in ("music", "cifar100n")]
    two = tuple(name for name in chosen if crowd_source(name).n_classes == 2)
    more = tuple(name for name in chosen if name not in two)
    block = Block(
        datasets=two,
        patterns=(REAL,),
        noise_rates=(None,),
        workers=(None,),
        methods=_AGGREGATORS,
        seeds=(0,),
        train=False,
    )
    return block, replace(block, datasets=more, methods=_ANY_CLASSES)


PRESETS: dict[str, Preset] = {
    "laptop": Preset(
        "LABNET's comparison on 1,797 embedded real digits; under 3 minutes on 2 cores",
        (
            Block(
                datasets=("digits",),
                workers=(3, 5, 9),
                methods=_PAPER_METHODS,
                # The authors' default penalty, 25 for ten classes, makes 1,297 items collapse into few classes.
                method_options={**_PAPER_OPTIONS, "minimax_entropy": {"lambda_worker": 2.5}},
            ),
        ),
    ),
    "labels": Preset(
        "aggregation error of LABNET Tables 1-2 at full size, 50,000 items, no network; 2 minutes on 2 cores",
        (
            Block(
                datasets=_LABEL_SETS,
                workers=(3, 6, 9, 12),
                missing_rates=(0.0, 0.1, 0.3),
                methods=("mv", "em", "em_hard"),
                method_options=_PAPER_OPTIONS,
                train=False,
            ),
        ),
    ),
    "labels-minimax": Preset(
        "minimax entropy on the same 50,000-item crowds, 3 and 9 workers, one seed; a minute on 2 cores",
        (
            Block(
                datasets=_LABEL_SETS,
                missing_rates=(0.0, 0.1, 0.3),
                methods=("minimax_entropy",),
                seeds=(0,),
                train=False,
            ),
        ),
    ),
    "real-crowds": Preset("every aggregator on 12 crowds of real workers, labels only", _real_crowds()),
    "labnet-table1": Preset("LABNET Table 1: CIFAR-10, 8-layer CNN", (_TABLE1,)),
    "labnet-table2": Preset("LABNET Table 2: CIFAR-100, ResNet-44", (_TABLE2,)),
    "labnet-figures": Preset("LABNET Figures 2-5: both data sets against the number of workers", (_FIGURES,)),
    "paper": Preset("LABNET Tables 1-2 and Figures 2-5, all with networks", (_TABLE1, _TABLE2, _FIGURES)),
}
