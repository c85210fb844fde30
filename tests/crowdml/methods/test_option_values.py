"""Every value of every option of every method gives a method, or one clear ValueError that names the option."""

from __future__ import annotations

import math
import random
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from crowdml import methods
from crowdml.aggregation import DawidSkene, Ibcc
from crowdml.labels import CrowdLabels
from crowdml.support.field_values import LARGEST

N_VALUES = 200
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 10**9, 2**63, 2**64, 10**400, -(10**400), 0.0, -0.0, 0.5, 1.0, 2.0, -1.5, 1e-320,
    1e100, 1e308, -1e308, math.inf, -math.inf, math.nan, 1j, "", "votes", "3", "nan", "x" * 10_000, "\n", b"a", (), [],
    [1], [1, 2], (64, 32), [math.nan, 1.0], [[1.0]], [[0.5, 0.5], [0.5, 0.5]], {}, {"a": 1}, {1}, object, print,
    range(3), np.int64(3), np.float32(0.5), np.float64(math.nan), np.bool_(True), np.array(3), np.array([1.0, 2.0]),
    np.str_("votes"), np.datetime64("2024"), Ellipsis, NotImplemented,
)  # fmt: skip


def options_of(name: str) -> list[str]:
    method = methods.resolve(name)
    source = method.source if method.learner is not None else method.source.learner
    parts = [("source.", source)] + ([("learner.", method.learner)] if method.learner is not None else [])
    return [f"{prefix}{item.name}" for prefix, part in parts for item in fields(part) if item.init]


def drawn(draw: random.Random) -> Any:
    if draw.random() < 0.6:
        return draw.choice(ODD)
    return draw.choice(
        [draw.uniform(-2, 2), draw.randint(-5, 500), 10 ** draw.uniform(-300, 300), draw.randint(0, 2**70)]
    )


@pytest.mark.parametrize("name", methods.REGISTRY)
def test_any_value_gives_a_method_or_a_clear_error(name: str) -> None:
    draw, names = random.Random(name), options_of(name)
    for _ in range(N_VALUES):
        option = draw.choice(names)
        value = drawn(draw)
        try:
            methods.resolve(name, {option: value})
        except ValueError as error:
            message = str(error)
            assert option.partition(".")[2] in message, (option, value, message)
            assert "\n" not in message
            assert len(message) < 400, message


@pytest.mark.parametrize("options", [[1], "max_iter", {3: 4}, {None: 1}, 7])
def test_options_must_be_names_with_values(options) -> None:
    with pytest.raises(ValueError, match="options of method em must map the names of options to values"):
        methods.resolve("em", options)


@pytest.mark.parametrize("name", [None, 3, ["em"], b"em"])
def test_a_name_must_be_a_text(name) -> None:
    with pytest.raises(ValueError, match="name of a method must be a text"):
        methods.resolve(name)


def test_a_class_that_checks_nothing_raises_a_clear_error_too() -> None:
    with pytest.raises(ValueError, match=r"method tests.cells:Slow cannot be made with the options|seconds"):
        methods.resolve("tests.cells:Slow", {"second": 1.0})


@pytest.mark.parametrize("kind", [DawidSkene, Ibcc])
def test_the_classes_check_their_options_in_python_too(kind) -> None:
    for options in ({"tol": math.nan}, {"diagonal": 1e308}, {"seed": -1}, {"max_iter": "3"}, {"max_iter": 2.0}):
        (name,) = options
        with pytest.raises(ValueError, match=name):
            kind(**options)
    assert type(kind(max_iter=np.int64(3)).max_iter) is int


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", [name for name, entry in methods.REGISTRY.items() if entry.kind == "aggregator"])
def test_the_largest_and_the_smallest_numbers_still_give_probabilities(name: str) -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0, 1], [1, 1, 0], [0, -1, 0], [1, 1, 1]]))
    short = {"epochs": 2, "pretraining_epochs": 2} if name in ("laa", "bila") else {}
    for option in fields(methods.resolve(name).source):
        if not str(option.type).startswith("float") or option.name == "max_bytes":
            continue
        for value in (LARGEST, 1e-100):
            try:
                source = methods.resolve(name, {option.name: value, **short}).source
            except ValueError:
                continue  # out of the range of this option
            assert source.fit(crowd).posterior.sum(axis=1) == pytest.approx(np.ones(4)), (option.name, value)
