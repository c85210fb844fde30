from __future__ import annotations

import pytest

from crowdml.datasets import crowd_names
from crowdml.experiment.crowd_types import Real, Simulated
from crowdml.learning.recipe import Recipe
from crowdml.methods.registry import REGISTRY
from sweeps.grid.grids import TRAINING, Block, Preset, axis_options, shorten, with_axes
from sweeps.grid.presets import PRESETS, grid_cells


@pytest.mark.parametrize(
    ("preset", "n_cells"),
    [
        # 2 class counts x 3 patterns x 4 worker counts x 3 missing rates x 3 methods x 3 seeds.
        ("labels", 648),
        ("labels-minimax", 2 * 3 * 2 * 3),
        # 3 patterns x 2 worker counts x 3 missing rates x 5 methods x 3 seeds.
        ("labnet-table1", 270),
        ("labnet-table2", 270),
        ("labnet-figures", 2 * 3 * 4 * 3 * 5 * 3),
        # The figures hold the tables.
        ("paper", 2 * 3 * 4 * 3 * 5 * 3),
    ],
)
def test_presets_have_the_cells_of_the_paper(preset: str, n_cells: int) -> None:
    cells = grid_cells(preset, {})
    assert len(cells) == n_cells
    assert len({cell.id for cell in cells}) == n_cells


@pytest.mark.parametrize("preset", ["labels", "labels-minimax"])
def test_label_presets_train_nothing(preset: str) -> None:
    assert all(cell.network is None for cell in grid_cells(preset, {}))


def test_networks_and_recipes_of_the_paper() -> None:
    cells = grid_cells("paper", {})
    assert {(cell.dataset, cell.network) for cell in cells} == {("cifar10", "cnn8"), ("cifar100", "resnet44")}
    recipe = TRAINING["cifar10"][1]
    assert (recipe.epochs, recipe.milestones, recipe.lr, recipe.weight_decay) == (120, (40, 80), 0.1, 5e-3)


def test_the_axes_of_a_command_line_are_the_lists_of_a_block() -> None:
    assert {axis: column.name for axis, column in axis_options().items()} == {
        "datasets": "dataset", "patterns": "pattern", "noise_rates": "noise_rate", "workers": "n_workers",
        "missing_rates": "missing_rate", "worker_models": "worker_model", "assignments": "assignment",
        "methods": "method", "seeds": "seed",
    }  # fmt: skip
    block = with_axes(Block(datasets=("digits",), methods=("mv",)), {"seeds": [7], "workers": [2, 4]})
    assert (block.seeds, block.workers, block.other_axes) == ((7,), (2, 4), {})


def test_an_axis_can_be_replaced() -> None:
    cells = grid_cells("labnet-table1", {"datasets": ("digits",), "workers": (5,), "seeds": (7,), "epochs": 3})
    assert {(cell.dataset, cell.network, cell.crowd.n_workers, cell.seed) for cell in cells} == {
        ("digits", "cnn_digits", 5, 7)
    }
    assert all(cell.training is not None and cell.training.recipe.epochs == 3 for cell in cells)


def test_options_go_to_their_method_and_pattern_only() -> None:
    block = Block(
        datasets=("digits",), methods=("mv", "em"), seeds=(0,), train=False,
        method_options={"em": {"max_iter": 3}}, pattern_options={"bimodal": {"discretise": "round"}},
    )  # fmt: skip
    for cell in block.cells():
        assert dict(cell.method_options) == ({"max_iter": 3} if cell.method == "em" else {})
        assert isinstance(cell.crowd, Simulated)
        assert dict(cell.crowd.pattern_options) == ({"discretise": "round"} if cell.crowd.pattern == "bimodal" else {})


def test_worker_models_and_assignments_are_axes() -> None:
    block = Block(
        datasets=("digits",), patterns=("uniform",), workers=(6,), methods=("mv",), seeds=(0,), train=False,
        worker_models=("homogeneous", "hammer_spammer"), worker_options={"hammer_spammer": {"hammers": 0.4}},
        assignments=("every_item", "power_law"), assignment_options={"power_law": {"labels_per_item": 2}},
    )  # fmt: skip
    crowds = [cell.crowd for cell in block.cells()]
    assert [
        (c.worker_model, dict(c.worker_options), c.assignment, dict(c.assignment_options))
        for c in crowds
        if isinstance(c, Simulated)
    ] == [
        ("homogeneous", {}, "every_item", {}),
        ("homogeneous", {}, "power_law", {"labels_per_item": 2}),
        ("hammer_spammer", {"hammers": 0.4}, "every_item", {}),
        ("hammer_spammer", {"hammers": 0.4}, "power_law", {"labels_per_item": 2}),
    ]


def test_every_aggregator_meets_every_real_crowd_that_it_is_defined_for() -> None:
    cells = grid_cells("real-crowds", {})
    aggregators = {name for name, entry in REGISTRY.items() if entry.kind == "aggregator"}
    assert all(isinstance(cell.crowd, Real) and cell.network is None for cell in cells)
    by_crowd = {name: {cell.method for cell in cells if cell.dataset == name} for name in crowd_names()}
    assert {name for name, methods in by_crowd.items() if not methods} == {"music", "cifar100n"}
    assert by_crowd["bluebird"] == aggregators
    assert by_crowd["web"] == aggregators - {"kos"}
    few = grid_cells(
        "real-crowds", {"methods": ("mv",), "datasets": ("web",), "workers": (5, 9), "missing_rates": (0.2,)}
    )
    assert [(cell.crowd.n_workers, cell.crowd.missing_rate) for cell in few] == [(5, 0.2), (9, 0.2)]


def test_a_cell_in_two_blocks_stands_once() -> None:
    block = Block(datasets=("digits",), methods=("mv",), train=False)
    assert len(Preset("twice", (block, block)).cells()) == len(block.cells())


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        ("laptp", {}, "unknown preset 'laptp'; did you mean laptop"),
        ("laptop", {"methods": ("labnett",)}, "unknown method 'labnett'; did you mean labnet"),
        ("laptop", {"patterns": ("uniforms",)}, "did you mean uniform"),
        ("laptop", {"datasets": ("digit",)}, r"dataset must be one of .* \(did you mean digits\?\), got 'digit'"),
        ("laptop", {"missing_rates": (1.2,)}, r"missing_rate must be in \[0, 1\), got 1.2"),
        ("laptop", {"workers": (0,)}, "n_workers must be at least 1, got 0"),
        ("laptop", {"datasets": ("bluebird",)}, 'pattern must be "real", because bluebird has real workers'),
        ("real-crowds", {"datasets": ("bluebrd",)}, r"dataset must be one of .* \(did you mean bluebird\?\)"),
        ("real-crowds", {"patterns": ("uniform",)}, "noise_rate must be given, because simulated workers have one"),
        ("labels", {"assignments": ("balanced",)}, "needs the assignment option labels_per_item"),
        (
            "laptop",
            {"datasets": ("cifar10_labels",)},
            "method needs a network and a recipe, because it trains a network, got 'labnet'",
        ),
    ],
)
def test_bad_input_is_refused_in_the_users_terms(preset: str, overrides, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid_cells(preset, overrides)


def test_a_shortened_recipe_keeps_its_proportions() -> None:
    recipe = Recipe(epochs=120, milestones=(40, 80))
    assert shorten(recipe, 12).milestones == (4, 8)
    assert shorten(recipe, 1).milestones == ()
    assert shorten(recipe, 240).milestones == (80, 160)


@pytest.mark.parametrize(("epochs", "decay_from"), [(60, 40), (3, 2), (1, 0)])
def test_a_shortened_linear_schedule_still_falls(epochs: int, decay_from: int) -> None:
    assert shorten(Recipe(epochs=30, schedule="linear", decay_from=20), epochs).decay_from == decay_from


def test_every_preset_says_what_it_is() -> None:
    assert all(preset.description and preset.blocks for preset in PRESETS.values())
