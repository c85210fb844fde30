from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from crowdml.learning.features import LARGEST_FEATURE, LARGEST_INPUT, check_features, feature_scaling, scale_features


def features(seed: int, n_items: int = 50, n_features: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_items, n_features))


def inputs_of(values: np.ndarray) -> np.ndarray:
    return scale_features(values, *feature_scaling(values))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 1000),
    exponents=st.lists(st.floats(-30, 30), min_size=4, max_size=4),
    offsets=st.lists(st.floats(-1e10, 1e10), min_size=4, max_size=4),
)
def test_any_unit_and_offset_gives_the_inputs_of_a_standard_scaler(seed: int, exponents, offsets) -> None:
    plain = features(seed)
    measured = (plain + offsets) * 10.0 ** np.array(exponents)
    wanted = StandardScaler().fit_transform(plain)
    # The offset takes digits of the values away: 1e10 leaves six.
    lost = np.finfo(float).eps * np.abs(offsets).max()
    assert inputs_of(measured) == pytest.approx(wanted, abs=1e-5 + 10 * lost)
    assert inputs_of(inputs_of(measured)) == pytest.approx(inputs_of(measured), abs=1e-5)


@pytest.mark.parametrize("scale", [1e-280, 1e-40, 1e-9, 1.0, 1e39, 1e290])
def test_extreme_units(scale: float) -> None:
    values = features(0)
    assert inputs_of(values * scale) == pytest.approx(inputs_of(values), abs=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint64, np.uint8])
def test_types(dtype) -> None:
    values = (np.abs(features(0)) * 30).astype(dtype)
    assert inputs_of(values) == pytest.approx(StandardScaler().fit_transform(values.astype(float)), abs=1e-5)


def test_nanoseconds_since_1970_keep_their_digits() -> None:
    seconds = features(0) * 10
    stamps = (1_700_000_000 * 10**9 + seconds * 1e9).astype(np.int64)
    assert inputs_of(stamps) == pytest.approx(inputs_of(seconds), abs=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [1e-9, 1.0, -3e4])
def test_a_feature_that_varies_by_rounding_errors_only_is_dropped(dtype, value: float) -> None:
    constant = np.full(50, value, dtype)
    constant[::2] = np.nextafter(constant[0], dtype(0))
    values = np.stack([constant, features(0)[:, 0].astype(dtype)], axis=1)
    _, scale = feature_scaling(values)
    assert scale[0] == 0 < scale[1]
    assert (inputs_of(values)[:, 0] == 0).all()


def test_a_small_variation_above_the_rounding_errors_is_kept() -> None:
    values = 1.0 + 1e-13 * features(0)
    assert inputs_of(values) == pytest.approx(inputs_of(features(0)), abs=0.01)


def test_all_rows_are_scaled_whatever_the_number_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = inputs_of(features(0))
    monkeypatch.setattr("crowdml.learning.features._BLOCK_VALUES", 28)
    assert inputs_of(features(0)) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.nan, "x: feature b of item 3 is nan; features must be finite, not NaN or inf"),
        (-np.inf, "x: feature b of item 3 is -inf; features must be finite, not NaN or inf"),
        (-1e305, r"x: feature b of item 3 is -1e\+305; features must be in ±1e\+300"),
    ],
)
def test_what_cannot_be_scaled_is_named(value: float, says: str) -> None:
    values = features(0)
    centre, scale = feature_scaling(values)
    values[3, 1] = value
    with pytest.raises(ValueError, match=says):
        check_features(values, "x", tuple("abcd"))
    with pytest.raises(ValueError, match=says if not np.isfinite(value) else "item 3"):
        scale_features(values, centre, scale, "x", tuple("abcd"))


def test_a_value_that_float32_cannot_hold_is_refused_at_prediction() -> None:
    values = features(0)
    far = values.copy()
    far[5, 2] = 1e39
    assert LARGEST_INPUT < 1e39 < LARGEST_FEATURE
    with pytest.raises(ValueError, match=r"feature 2 of item 5 is 1e\+39, which is too far from the values"):
        scale_features(far, *feature_scaling(values))
