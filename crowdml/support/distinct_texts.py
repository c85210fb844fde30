"""Sort the distinct texts of a column, and see at once whether any of the texts needs a closer look."""

from __future__ import annotations

import unicodedata
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crowdml.support.value_text import NOT_A_VALUE


class SortedTexts(NamedTuple):
    """The (n_values,) rank of each text as given, the texts in order, and what `is_plain` says about the texts."""

    rank: NDArray[np.int32]
    values: NDArray[np.object_]
    is_plain: bool


def sorted_texts(values: Any) -> SortedTexts:
    """Sort distinct texts, given as an array of objects or as an index of pandas.

    Arrow sorts UTF-8 several times as fast as pandas sorts Python objects, into the same order.
    """
    import pyarrow as pa  # imported here, because a grid needs no names of users
    import pyarrow.compute as pc

    is_surely_plain = False
    try:
        words: Any = pa.array(values)
        words = words.combine_chunks() if isinstance(words, pa.ChunkedArray) else words
        order = pc.sort_indices(words).to_numpy()
        words = words.take(pa.array(order))
        in_order, is_surely_plain = words.to_numpy(zero_copy_only=False), is_plain(words)
    except (UnicodeEncodeError, pa.ArrowException):  # UTF-8 cannot hold every Python text
        given = np.asarray(values, object)
        order = np.array(sorted(range(len(given)), key=given.__getitem__), np.int64)
        in_order = given[order]
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return SortedTexts(rank, in_order, is_surely_plain)


def is_plain(words: Any) -> bool:
    """Return True if it is certain that `cleaned` changes no text, and that no text stands for a missing value.

    Args:
        words: an Arrow array of strings without nulls.
    """
    import pyarrow.compute as pc

    buffer = words.buffers()[2]
    content = buffer.to_pybytes() if buffer else b""
    codes = np.frombuffer(content, np.uint8)
    is_visible = len(codes) and ord(" ") < codes.min() and codes.max() <= ord("~")
    has_no_nan = not any(word.encode() in content for word in NOT_A_VALUE if word)
    if is_visible and has_no_nan and pc.min(pc.binary_length(words)).as_py():
        return True
    joined = f"|{'|'.join(words.to_pylist())}|"
    return (
        joined.isprintable()  # the plain blank is the only blank that is printable
        and (" " not in joined or not any(blank in joined for blank in ("  ", "| ", " |")))
        and not any(f"|{word}|" in joined for word in NOT_A_VALUE)
        and unicodedata.is_normalized("NFC", joined)
    )
