"""Ranges; and the search space of every method: its values suit the method's class, and it contains the defaults."""

from __future__ import annotations

from dataclasses import fields
from itertools import chain
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml import methods
from crowdml.learning.recipe import Recipe
from crowdml.methods.registry import REGISTRY
from crowdml.methods.search_spaces import method_defaults, method_space
from crowdml.support.search_space import Choice, Either, Range, Real, Space, Value, Whole, check_in
from sweeps.grid.grids import TRAINING, shorten

NAMES = list(REGISTRY)
HAVE_NONE = {"mv", "wawa", "glad", "kos", "minimax_cv", "minimax_ordinal_cv"}
"""Methods that have no option to search, or that search for themselves."""


def values_of(kind: Range) -> st.SearchStrategy[Value]:
    if isinstance(kind, Either):
        return st.one_of(st.just(kind.value), values_of(kind.other))
    if isinstance(kind, Choice):
        return st.sampled_from(kind.values)
    if isinstance(kind, Whole):
        return st.integers(kind.low, kind.high)
    return st.floats(kind.low, kind.high)


def ends_of(kind: Range) -> list[Value]:
    if isinstance(kind, Either):
        return [kind.value, *ends_of(kind.other)]
    return list(kind.values) if isinstance(kind, Choice) else [kind.low, kind.high]


def suggested(space: Space, trial: optuna.trial.BaseTrial) -> dict[str, Value]:
    return {name: kind.suggest(trial, name) for name, kind in space.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_space_holds_existing_options_that_the_name_does_not_fix(name: str) -> None:
    own = method_space(name, labels_only=REGISTRY[name].kind == "aggregator")
    assert (not own) == (name in HAVE_NONE)
    space = method_space(name)
    method = methods.resolve(name)
    made = [part for part in (getattr(method.source, "learner", method.source), method.learner) if part is not None]
    options = set(chain.from_iterable((item.name for item in fields(part)) for part in made))
    searched = {option.rpartition(".")[2] for option in space}
    assert searched <= options
    assert not searched & set(REGISTRY[name].options)
    assert not searched & {"seed", "device", "ties", "tol"}


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_lie_within_their_ranges(name: str) -> None:
    defaults = method_defaults(name)
    assert defaults.keys() == method_space(name).keys()
    for option, kind in method_space(name).items():
        assert defaults[option] in kind, option
    assert methods.resolve(name, defaults) == methods.resolve(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_ends_of_every_range_are_taken(name: str) -> None:
    for option, kind in method_space(name).items():
        for value in ends_of(kind):
            assert value in kind
            methods.resolve(name, {option: value})


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_point_of_a_space_makes_a_method(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*NAMES, "em+nnaqc", "em+bootstrapping", "minimax_entropy+elr", "labnet+nnaqc"]))
    space = method_space(name)
    options = {option: data.draw(values_of(kind)) for option, kind in space.items()}
    method = methods.resolve(name, options)
    made = {"source": getattr(method.source, "learner", method.source), "learner": method.learner}
    for option, value in options.items():
        part, dot, field_name = option.partition(".")
        owners = [made[part]] if dot else [one for one in made.values() if hasattr(one, option)]
        assert getattr(owners[0], field_name if dot else option) == value


def test_an_option_that_both_parts_have_is_named_with_its_part() -> None:
    space = method_space("em+bootstrapping")
    assert {"source.hard", "learner.hard", "trust", "smoothing"} <= space.keys()
    assert "hard" not in space
    assert "trust" not in method_space("em+bootstrapping", labels_only=True)


@given(st.data())
def test_any_point_of_the_recipes_space_makes_a_recipe(data: st.DataObject) -> None:
    Recipe(**{name: data.draw(values_of(kind)) for name, kind in Recipe.SPACE.items()})  # pyright: ignore


def test_the_recipes_of_all_data_sets_lie_in_the_recipes_space() -> None:
    for recipe in (Recipe(), *(recipe for _, recipe in TRAINING.values())):
        for name, kind in Recipe.SPACE.items():
            assert getattr(recipe, name) in kind, name
    assert shorten(TRAINING["digits"][1], 5).epochs in Recipe.SPACE["epochs"]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["minimax_entropy", "gce", "em", "labnet", "jocor", "conal"]), st.integers(0, 2**31))
def test_optuna_draws_values_of_the_range_and_parameters_give_them_back(name: str, seed: int) -> None:
    space = method_space(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    drawn = suggested(space, trial)
    for option, value in drawn.items():
        check_in(space, option, value)
    parameters: dict[str, Any] = {}
    for option, value in drawn.items():
        parameters |= space[option].parameters(option, value)
    assert parameters == trial.params
    assert suggested(space, optuna.trial.FixedTrial(parameters)) == drawn


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Real(1, 1), "a range needs two finite ends with low < high, got 1 and 1"),
        (lambda: Real(0, float("inf")), "two finite ends"),
        (lambda: Real(0, 1, log=True), "must be above 0, got 0"),
        (lambda: Whole(3, 2), "low < high, got 3 and 2"),
        (lambda: Choice("a"), "at least two values, all different"),
        (lambda: Choice("a", "a"), "at least two values, all different"),
        (lambda: Either(0.5, Real(0, 1)), "already contains 0.5"),
        (lambda: check_in({"q": Real(0, 1)}, "q", 1.5), "q must be in the range that is searched, 0 to 1, got 1.5"),
        (lambda: check_in({"q": Real(0, 1)}, "p", 1), r"option 'p' cannot be searched \(options with a range: q\)"),
    ],
)
def test_invalid_ranges_are_refused(made: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made()


def test_which_values_a_range_contains() -> None:
    assert 0 in Real(0, 1)
    assert True not in Real(0, 1)
    assert True not in Whole(0, 1)
    assert 1.5 not in Whole(0, 3)
    assert 1 not in Choice(False, True)
    assert None in Either(None, Whole(1, 3))
    assert "1" not in Either(None, Whole(1, 3))
    assert str(Either(None, Real(1e-3, 1, log=True))) == "None or 0.001 to 1, log"
    assert str(Whole(1, 3)) == "1 to 3, whole"
    assert str(Choice("a", "b")) == "a | b"
