from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from crowdml.support.field_values import FieldError, as_json, convert_fields, converted

LONG = [10**5000]
"""A value that Python does not print."""


@pytest.mark.parametrize(
    ("value", "hint", "plain"),
    [
        (np.int64(3), int, 3),
        (np.array(3), int, 3),
        (np.float32(0.5), float, 0.5),
        (np.longdouble(0.5), float, 0.5),
        (2, float, 2.0),
        (np.bool_(True), bool, True),
        (np.str_("a"), str, "a"),
        (None, float | None, None),
        (np.float64(0.5), float | None, 0.5),
        ("votes", float | Literal["votes"], "votes"),
        ([1, np.int64(2)], tuple[int, ...], (1, 2)),
        (np.array([1, 2]), tuple[int, int], (1, 2)),
        ([[1, 0], [0, 1]], Sequence[Sequence[float]] | None, ((1.0, 0.0), (0.0, 1.0))),
        ({"a": 1}, dict, {"a": 1}),
    ],
)
def test_values_become_the_type_of_their_hint(value, hint, plain) -> None:
    found = converted(value, hint, "x")
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize(
    ("value", "hint", "says"),
    [
        (2.0, int, "x must be a whole number, got 2.0"),
        ("3", int, "x must be a whole number, got '3'"),
        (True, int, "x must be a whole number, got True"),
        (2**70, int, "x must be a whole number, got 1180591620717411303424"),
        (10**400, int, "x must be a whole number, got a number of 1329 bits"),
        (LONG, int, "x must be a whole number, got a value of type list"),
        (float("nan"), float, "x must be a number in ±1e15, got nan"),
        (np.float64("inf"), float, r"x must be a number in ±1e15, got np.float64\(inf\)"),
        (1.1e15, float, r"x must be a number in ±1e15, got 1100000000000000.0"),
        (-(10**400), float, "x must be a number in ±1e15, got a number of 1329 bits"),
        (1, bool, "x must be true or false, got 1"),
        (None, str, "x must be a text, got None"),
        ("a", Literal["b", "c"], 'x must be "b" or "c", got \'a\''),
        ("a", float | None, "x must be a number in ±1e15 or None, got 'a'"),
        ([1, 2, 3], tuple[int, int], r"x must be a list of 2 whole numbers, got \[1, 2, 3\]"),
        ("12", tuple[int, ...], "x must be a list of whole numbers, got '12'"),
        ([[1], 2], Sequence[Sequence[float]], "x must be a list of lists of numbers in ±1e15"),
    ],
)
def test_other_values_are_refused_by_name(value, hint, says: str) -> None:
    with pytest.raises(FieldError, match=says) as caught:
        converted(value, hint, "x")
    assert caught.value.field == "x"


@dataclass(frozen=True)
class Options:
    rate: float = 1.0
    seed: int = 0
    other: Any = None


def test_the_fields_of_a_dataclass_are_converted_in_place() -> None:
    options = Options(rate=np.float32(2), seed=np.uint64(2**64 - 1), other=(1,))  # pyright: ignore[reportArgumentType]
    convert_fields(options)
    assert options == Options(2.0, 2**64 - 1, (1,))
    assert (type(options.rate), type(options.seed)) == (float, int)


@pytest.mark.parametrize("seed", [-1, 2**64, 10**400, 1.0, None, True, "1"])
def test_a_seed_is_a_whole_number_of_64_bits(seed) -> None:
    with pytest.raises(FieldError, match=r"options.seed must be a whole number in \[0, 2\^64\), got"):
        convert_fields(Options(seed=seed), "options.")


def test_anything_becomes_plain_values_for_json() -> None:
    value = {"a": np.float32(0.5), "b": (np.int64(1), np.array([1, 2])), "c": Options}
    assert as_json(value) == {"a": 0.5, "b": [1, [1, 2]], "c": str(Options)}
