"""Find text values that a person takes for one value: they differ only by blanks, invisible characters or Unicode form.

`cleaned` is what the option `--strip` does to ids and labels.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.support.value_text import texts

_INVISIBLE = re.compile("[\u00ad\u200b\u200c\u200d\u2060\ufeff]")
_N_SHOWN = 3

logger = logging.getLogger(__name__)


def warn_of_look_alikes(source: str, column: str, values: NDArray[np.object_]) -> None:
    """Warn in the log of distinct texts that `cleaned` makes equal; `source` and `column` say where they are."""
    if pairs := alike(values):
        logger.warning(
            "%s: values of column %r look alike but count as different: %s; --strip (in Python strip=True) merges them",
            source, column, _some_pairs(pairs),
        )  # fmt: skip


def warn_of_case(source: str, column: str, values: NDArray[np.object_]) -> None:
    """Warn in the log of distinct texts that differ only in case."""
    if pairs := _alike_but_for_case(values):
        logger.warning(
            "%s: values of column %r differ only in case and count as different: %s; "
            "write them alike if they mean the same",
            source, column, _some_pairs(pairs),
        )  # fmt: skip


def near_misses(missing: ArrayLike, known: ArrayLike) -> str:
    """Return a text that names the missing values which `cleaned` makes equal to a known value, or an empty text."""
    strangers, names = texts(missing), texts(known)
    if _is_plain(strangers) and _is_plain(names):
        return ""
    by_form = {cleaned(name): name for name in names.tolist()}
    pairs = [(by_form[form], word) for word in dict.fromkeys(strangers) if (form := cleaned(word)) in by_form]
    return f"{_some_pairs(pairs)} look alike; --strip (in Python strip=True) merges them" if pairs else ""


def _is_plain(words: NDArray[np.object_]) -> bool:
    """Return True if it is certain that `cleaned` changes no text."""
    content = "".join(words)
    return content.isascii() and content.isprintable() and " " not in content


def cleaned(text: str) -> str:
    """Return the text without invisible characters and outer blanks, with single blanks, in Unicode form NFC."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return " ".join(text.split())


def alike(values: NDArray[np.object_]) -> list[tuple[str, str]]:
    """Return the pairs of distinct texts that `cleaned` makes equal, each as (clean or first value, other value)."""
    suspects = [(word, form) for word in values.tolist() if (form := cleaned(word)) != word]
    if not suspects:
        return []
    there = {form for _, form in suspects}.intersection(values.tolist())
    first: dict[str, str] = {form: form for form in there}
    return [(first[form], word) for word, form in suspects if first.setdefault(form, word) != word]


def _alike_but_for_case(values: NDArray[np.object_]) -> list[tuple[str, str]]:
    """Return the pairs of distinct texts that differ only in case."""
    first: dict[str, str] = {}
    return [(first[form], word) for word in values.tolist() if first.setdefault(form := word.casefold(), word) != word]


def _some_pairs(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the first pairs as text, with every invisible character visible, and the number of the other pairs."""
    shown = [f"{_visible(one)} and {_visible(other)}" for one, other in pairs[:_N_SHOWN]]
    more = f" and {len(pairs) - _N_SHOWN} more pairs" if len(pairs) > _N_SHOWN else ""
    return ", ".join(shown) + more


def _visible(text: str) -> str:
    return repr(text) if text == unicodedata.normalize("NFC", text) and text.isprintable() else ascii(text)
