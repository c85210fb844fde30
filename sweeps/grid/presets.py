"""The presets for LABNET's tables and figures, for labels only and for real crowds; see also `paper_presets`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from crowdml.datasets import crowd_names, crowd_source
from crowdml.experiment.cell import Cell
from crowdml.experiment.crowd_types import REAL
from crowdml.methods.registry import REGISTRY
from crowdml.support.names import check_name
from sweeps.grid.grids import Block, Preset
from sweeps.grid.paper_presets import PAPER_PRESETS


def grid_cells(preset: str, overrides: Mapping[str, Any]) -> list[Cell]:
    """Return the cells of a preset with some fields of its blocks replaced; `overrides` is field of Block -> value.

    Raises:
        ValueError: an unknown preset or name, or a value out of range.
    """
    chosen = PRESETS[check_name("preset", preset, PRESETS)]
    blocks = tuple(replace(block, **overrides) for block in chosen.blocks)
    return replace(chosen, blocks=blocks).cells()


# This EM reproduces the EM column of the paper: it starts from the majority vote and runs at most ten iterations.
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
    """Return blocks with all aggregators on the crowds of real workers.

    Two crowds are left out: music has the same labels as ms, and cifar100n has only one label per item.
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
        "LABNET's comparison on 1,797 embedded real digits; 3 to 5 minutes on 2 cores",
        (
            Block(
                datasets=("digits",),
                workers=(3, 5, 9),
                methods=_PAPER_METHODS,
                # With the authors' default penalty (25 for ten classes) 1,297 items collapse into few classes.
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
        "minimax entropy on the 50,000-item crowds of `labels`, 3 and 9 workers, one seed; 1 minute on 2 cores",
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
    **PAPER_PRESETS,
}
