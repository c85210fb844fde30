"""Random numbers as a function of a key and a number, available in any order.

The answer of a simulated worker to an item then depends only on the seed, the worker and the item, not on the other
workers.  A large crowd keeps no random numbers in memory.  Draw n of key k is output n of SplitMix64 with seed k
(Steele, Lea, Flood, OOPSLA 2014); SplitMix64 can jump to any output directly.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11, _32 = (np.uint64(bits) for bits in (30, 27, 31, 11, 32))
_ONE = np.uint64(1)
_UNIT = 2.0**-53


def make_key(seed: int, purpose: int) -> np.uint64:
    """Return the key of a seed and a purpose."""
    return np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0]


@njit(cache=True, nogil=True, inline="always")
def bits(key: np.uint64, number: np.uint64) -> np.uint64:
    """Return 64 random bits: output `number` (from 0) of SplitMix64 with seed `key`."""
    mixed = key + (number + _ONE) * _STEP
    mixed = (mixed ^ (mixed >> _30)) * _FIRST
    mixed = (mixed ^ (mixed >> _27)) * _SECOND
    return mixed ^ (mixed >> _31)


@njit(cache=True, nogil=True, inline="always")
def uniform(key: np.uint64, number: np.uint64) -> float:
    """Draw from [0, 1)."""
    return np.float64(bits(key, number) >> _11) * _UNIT


@njit(cache=True, nogil=True, inline="always")
def uniform_of(key: np.uint64, worker: int, item: int) -> float:
    """Draw from [0, 1) for a worker and an item, both below 2**32."""
    return uniform(key, (np.uint64(worker) << _32) | np.uint64(item))
