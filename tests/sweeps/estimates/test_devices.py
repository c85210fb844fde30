from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.support.device_info import describe_device
from sweeps.estimates.devices import CONTEXT_MB, MARGIN, is_gpu, share_of_gpu


@pytest.mark.parametrize(
    ("device", "gpu"),
    [
        ("NVIDIA H200", True),
        ("NVIDIA GeForce RTX 4090", True),
        ("Tesla V100-SXM2-16GB", True),
        ("AMD Instinct MI300X", True),
        ("AMD Radeon RX 7900 XTX", True),
        ("Intel(R) Xeon(R) Platinum 8488C", False),
        ("AMD EPYC 9654 96-Core Processor", False),
        ("AMD Ryzen 7 5700U with Radeon Graphics", False),
        ("Intel(R) Core(TM) i7-9700K CPU @ 3.60GHz", False),
        ("Neoverse-N1", False),
        ("x86_64", False),
        (None, False),
    ],
)
def test_a_gpu_is_known_by_its_name(device: str | None, gpu: bool) -> None:
    assert is_gpu(device) == gpu


def test_this_processor_is_no_gpu() -> None:
    assert not is_gpu(describe_device("cpu"))


@pytest.mark.parametrize(
    ("peak_mb", "total_mb", "share"),
    [
        (1000, 16_000, 1 / 8),  # nine would fit: 1,250 MB and 500 MB of CUDA's own each
        (2000, 16_000, 1 / 5),  # 3,000 MB each
        (10_000, 16_000, 1.0),
        (14_000, 16_000, 1.0),  # without the margin, alone
        (100, 140_000, 1 / 8),
    ],
)
def test_shares(peak_mb: float, total_mb: float, share: float) -> None:
    assert share_of_gpu(peak_mb, total_mb) == share


def test_how_many_at_most() -> None:
    assert share_of_gpu(10, 80_000, at_most=2) == 0.5


@given(st.floats(1, 50_000), st.floats(50_600, 200_000), st.integers(1, 16))
def test_as_many_cells_as_share_a_gpu_fit_on_it(peak_mb: float, total_mb: float, at_most: int) -> None:
    n_cells = round(1 / share_of_gpu(peak_mb, total_mb, at_most=at_most))
    assert 1 <= n_cells <= at_most
    assert n_cells * (peak_mb + CONTEXT_MB) <= total_mb * (1 + 1e-9)
    fits_with_one_more = (n_cells + 1) * (peak_mb * MARGIN + CONTEXT_MB) <= total_mb
    assert n_cells == at_most or not fits_with_one_more


@pytest.mark.parametrize(
    ("peak_mb", "total_mb", "message"),
    [
        (0, 100, "peak_mb must be above 0, got 0"),
        (1, float("nan"), "total_mb must be above 0, got nan"),
        (16_000, 16_000, "a cell needs 16500 MB and the GPU has 16000 MB; make recipe.batch_size or n_train smaller"),
    ],
)
def test_a_cell_that_does_not_fit_is_refused(peak_mb: float, total_mb: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        share_of_gpu(peak_mb, total_mb)
