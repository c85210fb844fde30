from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crowdml.noise.counter_random import bits, make_key, uniform, uniform_of

WORD = 2**64


def splitmix64(seed: int, number: int) -> int:
    """Output `number` of the generator as its paper writes it, stepping from the first."""
    state = seed
    for _ in range(number + 1):
        state = (state + 0x9E3779B97F4A7C15) % WORD
    mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % WORD
    return mixed ^ (mixed >> 31)


def test_the_published_first_outputs() -> None:
    # Of seed 0, as implementations of SplitMix64 are commonly checked.
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [int(bits(np.uint64(0), np.uint64(n))) for n in range(3)] == expected


@given(st.integers(0, WORD - 1), st.integers(0, 20))
def test_it_jumps_to_what_stepping_reaches(seed: int, number: int) -> None:
    key = np.uint64(seed)
    assert int(bits(key, np.uint64(number))) == splitmix64(seed, number)
    assert float(uniform(key, np.uint64(number))) == (splitmix64(seed, number) >> 11) / 2**53


def test_draws_are_even_and_keys_differ() -> None:
    key, other = make_key(5, 0), make_key(5, 1)
    assert key != other
    draws = np.array([[uniform_of(key, worker, item) for item in range(200)] for worker in range(100)])
    assert len(np.unique(draws)) == draws.size
    assert np.histogram(draws, 10, (0, 1))[0].std() < 3 * np.sqrt(2000)
    assert np.abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.35
    assert np.abs(np.corrcoef(draws[0], draws[1])[0, 1]) < 0.25
