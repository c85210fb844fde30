from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.loop import train
from crowdml.learning.optimise import RateSchedule, make_optimizer
from crowdml.learning.recipe import Recipe
from crowdml.learning.supervision import supervise
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs()
GIVEN = supervise(DATA.train_labels, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "recipe.epochs must be at least 1, got 0"),
        ({"lr": 0}, "recipe.lr must be above 0, got 0"),
        ({"weight_decay": -1.0}, "recipe.weight_decay must not be negative, got -1.0"),
        ({"optimizer": "sdg"}, 'recipe.optimizer must be one of "sgd", "adam", "adamw", "radam", got \'sdg\''),
        ({"schedule": "steps"}, 'recipe.schedule must be one of "step", "linear", "cosine", "one_cycle"'),
        ({"augment": "rotate"}, "recipe.augment must be one of"),
        ({"inputs": "raw"}, "recipe.inputs must be one of"),
        ({"late_momentum": 1.0}, r"recipe.late_momentum must be in \[0, 1\), got 1.0"),
        ({"validation": 1.0}, r"recipe.validation must be in \[0, 1\), got 1.0"),
        ({"validation": 0.1, "patience": 0}, "recipe.patience must be at least 1, got 0"),
        ({"patience": 3}, "need held-out items; set recipe.validation above 0"),
        ({"keep": "best"}, "need held-out items"),
    ],
)
def test_a_bad_recipe_is_refused_in_the_users_terms(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)


def test_a_recipe_is_written_with_all_its_fields() -> None:
    written = Recipe(milestones=(3, 5)).to_dict()
    assert set(written) == {field.name for field in fields(Recipe)}
    assert Recipe(**written) == Recipe(milestones=(3, 5))


def rates(recipe: Recipe, steps_per_epoch: int = 3) -> list[list[float]]:
    """[learning rate, momentum] at the first step of each epoch."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = make_optimizer(recipe, [{"params": [weight]}])
    schedule = RateSchedule(recipe, optimizer, steps_per_epoch)
    seen = []
    weight.grad = torch.zeros(1)
    for epoch in range(recipe.epochs):
        schedule.begin_epoch(epoch)
        (group,) = optimizer.param_groups
        seen.append([group["lr"], group["betas"][0] if "betas" in group else group["momentum"]])
        for _ in range(steps_per_epoch):
            optimizer.step()
            schedule.after_step()
        schedule.after_epoch()
    return seen


def test_the_linear_schedule_is_jocors() -> None:
    # JoCoR: constant until decay_from, then (epochs - e) / (epochs - decay_from), and beta_1 = .1 from there on.
    recipe = Recipe(epochs=5, lr=0.1, optimizer="adam", schedule="linear", decay_from=2, late_momentum=0.1)
    expected = [[0.1, 0.9], [0.1, 0.9], [0.1, 0.1], [0.1 * 2 / 3, 0.1], [0.1 / 3, 0.1]]
    assert [pytest.approx(pair) for pair in expected] == rates(recipe)


def test_the_other_schedules() -> None:
    steps = rates(Recipe(epochs=4, lr=0.1, milestones=(1, 3), lr_decay=0.5))
    assert [rate for rate, _ in steps] == pytest.approx([0.1, 0.05, 0.05, 0.025])
    cosine = rates(Recipe(epochs=4, lr=0.1, schedule="cosine"))
    assert [rate for rate, _ in cosine] == pytest.approx([0.1, 0.1 * (0.5 + 0.5**1.5), 0.05, 0.1 * (0.5 - 0.5**1.5)])
    cycle = [rate for rate, _ in rates(Recipe(epochs=10, lr=0.1, schedule="one_cycle", optimizer="radam"))]
    assert max(cycle) == pytest.approx(0.1, rel=0.05)
    assert cycle[0] < 0.01 > cycle[-1]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "radam"])
def test_every_optimiser_learns(optimizer: str) -> None:
    curve: list[tuple[int, str, float]] = []
    task = make(DATA, epochs=6, lr=0.01, optimizer=optimizer, report=lambda *point: curve.append(point))
    train(CrossEntropy(), task, GIVEN)
    assert curve[-1][1:] == ("test_accuracy", pytest.approx(1.0, abs=0.05))


def test_training_stops_when_patience_is_out_and_keeps_the_best() -> None:
    # Labels without any sense: the loss on held-out items rises as the others are memorised.
    torch.manual_seed(0)
    given = supervise(torch.randint(0, 3, (120,)), 3)
    curve: list[tuple[int, str, float]] = []
    settings = {"epochs": 60, "lr": 0.2, "validation": 0.25, "report": lambda *point: curve.append(point)}
    trained = train(CrossEntropy(), make(DATA, patience=3, keep="best", **settings), given)
    held_out = [value for _, metric, value in curve if metric == "validation_loss"]
    best = min(range(len(held_out)), key=held_out.__getitem__)
    assert trained.n_epochs == len(held_out) == best + 1 + 3 < 60
    # The network is that of the best epoch.
    until_best = train(CrossEntropy(), make(DATA, **{**settings, "epochs": best + 1}), given)
    for ours, theirs in zip(trained.model.parameters(), until_best.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
