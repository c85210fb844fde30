"""Distinct texts are sorted as Python sorts them, and a look at their UTF-8 finds what may look alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crowdml.support.distinct_texts import sorted_texts


@pytest.mark.parametrize(
    "words",
    [["b", "a", "ab", "A"], ["é", "z", "\U0001f600", "\uffee", "\u0301"], ["b", "\ud800", "a"], ["one word"]],
)
def test_texts_are_sorted_as_python_sorts_them(words: list[str]) -> None:
    for given in (np.array(words, object), pd.Index(words, dtype=object)):
        found = sorted_texts(given)
        assert found.values.tolist() == sorted(words)
        assert found.values[found.rank].tolist() == words


@pytest.mark.parametrize(
    ("words", "is_plain"),
    [
        (["a", "b"], True),
        (["nan-1", "banana"], True),
        (["one word", "é"], True),
        (["a", "nan"], False),
        (["a", ""], False),
        (["a ", "a"], False),
        (["a  b"], False),
        (["a\tb"], False),
        (["e\u0301"], False),
        (["a\u200b"], False),
        (["\x7f"], False),
    ],
)
def test_texts_that_need_a_closer_look(words: list[str], is_plain: bool) -> None:
    assert sorted_texts(np.array(words, object)).is_plain is is_plain
