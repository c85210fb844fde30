"""Centre and scale features in float64, before they become float32 inputs of a network.  Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LARGEST_FEATURE = 1e300
"""Features are refused above this absolute value, because differences of larger values overflow."""
LARGEST_INPUT = 1e18
"""Inputs are refused above this absolute value, because the network computes in float32, which overflows at 3e38."""
# A feature is constant if its values differ by at most this many rounding errors of its largest value.
_ROUNDING_ERRORS = 4
_SMALLEST_SPREAD = 1e-290  # the inverse of a smaller spread overflows
_BLOCK_VALUES = 1 << 22  # features that are converted to float64 at a time


def check_features(values: NDArray, source: str = "", columns: Sequence[str] = ()) -> None:
    """Check that (n_items, n_features) features can be scaled.

    Args:
        values: the features, of any real type.
        source: where the features come from, for the message.
        columns: the names of the features; by default their numbers.

    Raises:
        ValueError: a feature is not finite or above LARGEST_FEATURE; the message names feature and item.
    """
    for first, block in _blocks(values):
        wrong = ~(np.abs(block) <= LARGEST_FEATURE)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            value = values[first + row, column]
            limit = "finite, not NaN or inf" if not np.isfinite(block[row, column]) else f"in ±{LARGEST_FEATURE:g}"
            raise ValueError(f"{_place(source, columns, first + row, column)} is {value}; features must be {limit}")


def feature_scaling(train: NDArray) -> tuple[Array, Array]:
    """Return centre and scale, each (n_features,); the inputs `(values - centre) * scale` have mean 0 and deviation 1.

    The scale of a feature that is constant in training is 0, so that it cannot dominate at test time.  A feature counts
    as constant if its values differ by no more than rounding errors of their type.

    Args:
        train: (n_items, n_features) training items that `check_features` has checked.
    """
    low, high = train.min(axis=0).astype(np.float64), train.max(axis=0).astype(np.float64)
    spread, origin = high - low, train[0].astype(np.float64)
    precision = np.finfo(train.dtype).eps if train.dtype.kind == "f" else np.finfo(np.float64).eps
    rounding = _ROUNDING_ERRORS * float(precision) * np.maximum(np.abs(low), np.abs(high))
    varies = spread > np.maximum(rounding, _SMALLEST_SPREAD)
    # Values relative to the first item, in units of their spread: neither an offset nor a unit costs precision.
    unit = np.where(varies, spread, 1.0)
    total = np.zeros(train.shape[1])
    for _, block in _blocks(train):
        total += ((block - origin) / unit).sum(axis=0)
    mean, total = total / len(train), np.zeros(train.shape[1])
    for _, block in _blocks(train):
        total += np.square((block - origin) / unit - mean).sum(axis=0)
    deviation = np.where(varies, np.sqrt(total / len(train)) * unit, np.inf)
    return origin + mean * unit, 1 / deviation


def scale_features(
    values: NDArray, centre: Array, scale: Array, source: str = "", columns: Sequence[str] = ()
) -> NDArray[np.float32]:
    """Return the inputs `(values - centre) * scale`, (n_items, n_features) float32, computed in float64.

    Args:
        values: the features, of any real type.
        centre, scale: (n_features,), see `feature_scaling`.
        source, columns: see `check_features`.

    Raises:
        ValueError: a feature is not finite, or an input is above LARGEST_INPUT; the message names feature and item.
    """
    inputs = np.empty(values.shape, np.float32)
    for first, block in _blocks(values):
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (block - centre) * scale
        far = ~(np.abs(scaled) <= LARGEST_INPUT)
        if far.any():
            check_features(values, source, columns)
            row, column = np.argwhere(far)[0]
            raise ValueError(
                f"{_place(source, columns, first + row, column)} is {values[first + row, column]}, "
                f"which is too far from the values in training, around {centre[column]:g}"
            )
        inputs[first : first + len(block)] = scaled
    return inputs


def _blocks(values: NDArray) -> Iterator[tuple[int, Array]]:
    """Yield the number of the first row and the values of each block of rows, as float64."""
    n_rows = max(1, _BLOCK_VALUES // values.shape[1])
    for first in range(0, len(values), n_rows):
        yield first, values[first : first + n_rows].astype(np.float64)


def _place(source: str, columns: Sequence[str], row: int, column: int) -> str:
    return f"{source}{': ' if source else ''}feature {columns[column] if columns else column} of item {row}"
