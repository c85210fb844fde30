"""One text form for ids and classes, whatever their type: 1 and 1.0 are "1", True and TRUE are "true".

Values of different types are compared by this text, and names of columns are made of it:

- Whole numbers are digits.  Other numbers are the shortest text that gives the number again.
- Truth values are `true` and `false`.
- Times are written like `2024-05-01 13:30:00.5`.  Midnight is the date alone.  Times with a time zone are in UTC.
- Durations are written like `1 days 02:30:00`.
- Bytes are the text that they encode in UTF-8, or hexadecimal digits after 0x.
- Text is itself.  `typed` decides for a column of text as a whole whether the column holds numbers or truth values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
"""The words for truth values, as Python, JSON and spreadsheets write them."""

NOT_A_VALUE = ("", "nan", "NaN")
"""Text that stands for a missing value."""

WHOLE = r"0|-?[1-9][0-9]*"
NUMBER = rf"^(({WHOLE})(\.0+)?|-0\.0+|-?(0|[1-9][0-9]*)\.[0-9]*[1-9]|-?[0-9](\.[0-9]*[1-9])?e[+-][0-9]{{1,3}})$"
"""Numbers in their usual form.  Not: 007, +7, -0, 1e3, 1.10, inf."""

_NUMBER = re.compile(NUMBER)
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:?\d\d)?)?$", re.ASCII)
_NUMBERS = (int, float, np.number, np.bool_, Decimal)
_LONGEST = 400
"""Longer text is no number in its usual form; Python refuses to read whole numbers of more than 4300 digits."""
_INT64, _UINT64 = np.iinfo(np.int64), np.iinfo(np.uint64)


def text_of(value: Any) -> str:
    """Return the text form of one value."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, timedelta | np.timedelta64):  # NumPy takes a duration for a whole number
        return _text_of_duration(value)
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, float | np.floating | Decimal):
        return _text_of_number(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return f"0x{value.hex()}"
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return _text_of_time(str(value)) if isinstance(value, date | np.datetime64) else str(value)


def texts(values: ArrayLike) -> NDArray[np.object_]:
    """Return the text form of each value, as an array of objects."""
    array = np.asarray(values)
    if array.dtype.kind == "O":
        words = [value if type(value) is str else text_of(value) for value in array]
    elif array.dtype.kind in "iuU":
        words = list(map(str, array.tolist()))
    else:
        words = list(map(text_of, array))
    return np.fromiter(words, object, len(words))


def typed(words: Sequence[str]) -> NDArray[Any]:
    """Return a column of text as truth values or numbers if every word is a truth value or a number in its usual form.

    A number is left as text if it would not keep all its digits.  One other word makes the whole column text.  So "01"
    keeps its zero, and "1.0" beside "none" remains "1.0".
    """
    if all(word in TRUTH for word in words):
        return np.array([TRUTH[word] for word in words], bool)
    if max(map(len, words), default=0) <= _LONGEST and all(map(_NUMBER.match, words)):
        if not any("." in word or "e" in word for word in words) or all(_is_whole(word) for word in words):
            whole = as_whole([int(word.partition(".")[0]) for word in words])
            if whole is not None:
                return whole
        elif all(_keeps_digits(word) for word in words):
            return np.array(words, np.float64)
    return np.fromiter(words, object, len(words))


def as_whole(values: Sequence[int]) -> NDArray[Any] | None:
    """Return whole numbers as int64 if they fit, else as uint64 if they fit, else None."""
    low, high = min(values, default=0), max(values, default=0)
    if low >= _INT64.min and high <= _INT64.max:
        return np.array(values, np.int64)
    return np.array(values, np.uint64) if low >= 0 and high <= _UINT64.max else None


def are_numbers(values: ArrayLike) -> bool:
    """Return whether all values are numbers, truth values, or text that is a number in its usual form."""
    array = np.asarray(values)
    if array.dtype.kind != "O":
        return array.dtype.kind in "biuf" or (array.dtype.kind == "U" and all(map(_NUMBER.match, array.tolist())))
    return all(_NUMBER.match(value) if isinstance(value, str) else isinstance(value, _NUMBERS) for value in array)


def number_order(values: ArrayLike) -> NDArray[np.int64]:
    """Return the order that sorts numbers, which may be text, by their value."""
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return np.argsort(array, kind="stable")
    exact = [Decimal(value if isinstance(value, str) else text_of(value)) for value in array.tolist()]
    return np.array(sorted(range(len(exact)), key=exact.__getitem__), np.int64)


def reduced(text: str) -> str:
    """Return the text form of the number, truth value or time that a text says, or the text itself."""
    start = text[:1]
    if not (start.isdecimal() or start in "-tTfF"):
        return text
    if text in TRUTH:
        return text_of(TRUTH[text])
    if _NUMBER.match(text):
        if _is_whole(text):
            return str(int(text.partition(".")[0]))
        return text_of(float(text)) if _keeps_digits(text) else text
    return _text_of_time(text)


def lookup(names: ArrayLike, wanted: ArrayLike) -> NDArray[np.int64]:
    """Return the (n_wanted,) position of each wanted name in `names`, -1 where the name is missing.

    Names of different types are compared by their text form: 1, 1.0 and "1" are one name.  A name that is still missing
    is compared by what its text says: "1.0" finds "1", and "TRUE" finds "True", unless two names say the same.
    """
    import pandas as pd  # imported here, because a grid needs no names of users

    given, sought = _comparable(names), _comparable(wanted)
    if given.dtype != sought.dtype and not given.dtype.kind == sought.dtype.kind == "i":
        given, sought = _as_text(given), _as_text(sought)
    position = pd.Index(given).get_indexer(pd.Index(sought)).astype(np.int64)
    if given.dtype == object and (position < 0).any():
        missing = np.flatnonzero(position < 0)
        position[missing] = _by_meaning(given, sought[missing])
    return position


def _comparable(names: ArrayLike) -> NDArray[Any]:
    """Return whole numbers as they are, and everything else as a number or as text."""
    import pandas as pd

    array = np.asarray(names)
    if array.dtype.kind == "O" and pd.api.types.infer_dtype(array, skipna=False) in ("string", "empty"):
        return array
    return texts(array) if array.dtype.kind not in "iuf" else array


def _as_text(names: NDArray[Any]) -> NDArray[np.object_]:
    return names if names.dtype == object else texts(names)


def _by_meaning(names: NDArray[np.object_], wanted: NDArray[np.object_]) -> NDArray[np.int64]:
    import pandas as pd

    said = pd.Index([reduced(name) for name in names], dtype=object)
    meant = pd.Index([reduced(name) for name in wanted], dtype=object)
    is_alone = ~said.duplicated(keep=False)
    position = said[is_alone].get_indexer(meant)
    return np.where(position < 0, -1, np.flatnonzero(is_alone)[position] if is_alone.any() else -1)


def some_values(values: Sequence[Any] | NDArray[Any], n_shown: int = 5) -> str:
    """Return the first values as text, and the number of the other values."""
    shown = ", ".join(text_of(value) for value in values[:n_shown])
    return shown + (f" and {len(values) - n_shown} more" if len(values) > n_shown else "")


def _text_of_number(value: Any) -> str:
    if not math.isfinite(value) or (isinstance(value, Decimal) and value.adjusted() > _LONGEST):
        return str(value)
    if value == int(value):
        return str(int(value))
    if isinstance(value, Decimal):
        plain = format(value.normalize(), "f")
        return repr(float(plain)) if _keeps_digits(plain) else plain
    # NumPy knows the shortest text of a number in single precision: 0.1, which is 0.10000000149011612 in double.
    return str(value) if isinstance(value, np.floating) else repr(value)


def _is_whole(word: str) -> bool:
    whole, _, fraction = word.partition(".")
    return not fraction.strip("0") and "e" not in whole


def _keeps_digits(word: str) -> bool:
    return Decimal(word) == Decimal(repr(float(word)))


def _text_of_duration(value: timedelta | np.timedelta64) -> str:
    """Return a duration as pandas writes it: `1 days 02:30:00`."""
    import pandas as pd  # imported here, because a grid needs no durations

    return str(pd.Timedelta(value))


def _text_of_time(text: str) -> str:
    """Return a time in its usual form, or the text itself if it is no time."""
    found = _TIME.match(text)
    if not found:
        return text
    day, minute, second, fraction, zone = found.groups()
    if zone not in (None, "Z", "+00:00", "+0000"):
        try:
            moved = datetime.fromisoformat(f"{day} {minute}:{second or '00'}{zone}").astimezone(UTC)
        except (ValueError, OverflowError):
            return text
        day, minute, second, zone = f"{moved:%Y-%m-%d}", f"{moved:%H:%M}", f"{moved:%S}", "Z"
    fraction = (fraction or "").rstrip("0")
    clock = f"{minute or '00:00'}:{second or '00'}" + (f".{fraction}" if fraction else "")
    if clock == "00:00:00" and zone is None:
        return day
    return f"{day} {clock}{'+00:00' if zone else ''}"
