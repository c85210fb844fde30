"""Every method computes what is recorded.

Labels, counts and other whole numbers must be equal.  Values of label-only cells may differ by 1e-12, relative and
absolute.  Trained values may differ by 1e-6 on the processor and torch version that they were recorded on.  With
another processor or torch version they may differ by 1e-3.  That holds also for the aggregators that train a network
(laa and bila), which must otherwise be as near as the other aggregators.

`python -m tests.golden.record` makes the record anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest
import torch

from crowdml.methods.registry import REGISTRY
from tests.golden import record
from tests.golden.cases import AGGREGATORS, TRAINING, Case, all_cases, compute

LABELS, TRAINED, ELSEWHERE = 1e-12, 1e-6, 1e-3

BY_TEST: dict[str, list[Case]] = defaultdict(list)
for _case in all_cases().values():
    BY_TEST[_case.test].append(_case)


@pytest.fixture(scope="module")
def golden() -> dict:
    return record.load()


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def tolerance(case: Case, golden: dict) -> float:
    if case.trains and golden["machine"] != record.machine():
        return ELSEWHERE
    return TRAINED if "network" in case.values else LABELS


@pytest.mark.parametrize("name", BY_TEST)
def test_it_computes_what_is_recorded(name: str, golden: dict) -> None:
    wrong = []
    for case in BY_TEST[name]:
        wrong += record.differences(golden["cases"][case.key], compute(case), tolerance(case, golden), f"{case.key} ")
    assert not wrong, "\n".join(wrong)


def test_every_case_is_recorded(golden: dict) -> None:
    assert golden["cases"].keys() == all_cases().keys()


def test_every_method_of_the_registry_is_a_case() -> None:
    assert set(AGGREGATORS) == {name for name, entry in REGISTRY.items() if entry.kind == "aggregator"}
    assert set(TRAINING) == {name for name, entry in REGISTRY.items() if entry.kind != "aggregator"}


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (1.0, 1.0 + 1e-11),
        (0.0, 1e-11),
        (1, 2),
        (1, 1.0),
        (True, False),
        ("0120", "0121"),
        ("nan", 0.5),
        ([1.0, 2.0], [1.0]),
        ([[1, "loss", 0.5]], [[1, "loss", 0.6]]),
        ({"a": 1}, {}),
        ({}, {"a": 1}),
        ({"a": [1.0]}, {"a": [float("nan")]}),
    ],
)
def test_a_difference_is_seen(expected: object, found: object) -> None:
    assert record.differences(expected, found, LABELS)
    assert not record.differences(expected, expected, LABELS)
