from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crowdml.training.folders import decoding
from crowdml.training.folders.decoding import (
    UnreadableImageError,
    centre_box,
    check_header,
    random_box,
    read_centre,
    read_views,
    unreadable_images,
)
from tests.crowdml.training.folders.pictures import cut_short, paint

SIZES = st.integers(1, 4000)
DRAWS = st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=5, max_size=5)


def smooth(path: Path, width: int, height: int) -> Path:
    """A picture without fine detail, so that ways of resizing must agree."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def test_parts_by_hand() -> None:
    # The short side of 256 pixels keeps 224 of them; the rest is shared out.
    assert centre_box(512, 256) == (144, 16, 368, 240)
    assert random_box(512, 256, [0, 0, 0, 0, 0], "shift") == (0, 0, 224, 224)
    assert random_box(512, 256, [0, 0.5, 0.25, 0, 0], "shift") == (144, 8, 368, 232)
    assert random_box(512, 256, [0, 0.9, 0.1, 0.3, 0.2], "centre") == centre_box(512, 256)
    # 8 % of the area and a square in the middle: sqrt(0.08 * 400 * 400) = 113.137.
    assert random_box(400, 400, [0, 0.5, 0.5, 0, 0.5], "area") == pytest.approx((143.43, 143.43, 256.57, 256.57), 1e-4)


@given(SIZES, SIZES, DRAWS)
def test_parts_lie_within_the_image(width: int, height: int, draws: list[float]) -> None:
    for box in (centre_box(width, height), *(random_box(width, height, draws, crop) for crop in ("shift", "area"))):
        left, top, right, bottom = box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    left, top, right, bottom = random_box(width, height, draws, "area")
    share = (right - left) * (bottom - top) / (width * height)
    assert share <= 1.0001
    if right - left < width and bottom - top < height:  # nothing had to be cut off
        assert share >= 0.0799
        assert 0.7499 <= (right - left) / (bottom - top) <= 1.3334


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_the_centre_is_that_of_the_resized_image(tmp_path: Path, suffix: str) -> None:
    path = smooth(tmp_path / f"a.{suffix}", 1300, 900)
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((46, 32), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((9, 2, 37, 30))).astype(int)
    ours = read_centre(path, 28)
    assert ours.shape == (28, 28, 3)
    assert np.abs(ours - expected).mean() < 2.5  # the resized width is 46.2, not 46


def test_decoding_a_jpeg_smaller_is_no_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = smooth(tmp_path / "a.jpg", 1600, 1200)
    fast = read_centre(path, 64)
    monkeypatch.setattr(decoding, "_DECODE_GAP", 1e9)
    whole = read_centre(path, 64)
    assert not np.array_equal(fast, whole)
    assert np.abs(fast.astype(int) - whole).max() <= 3


def test_views_follow_their_draws(tmp_path: Path) -> None:
    path = smooth(tmp_path / "a.png", 60, 40)
    draws = np.random.default_rng(0).random((3, decoding.N_DRAWS), dtype=np.float32)
    draws[0, 0], draws[1:, 0] = 0.2, 0.7
    flipped = read_views(path, 16, draws, "shift", flip=True)
    straight = read_views(path, 16, draws, "shift", flip=False)
    np.testing.assert_array_equal(flipped[0], straight[0][:, ::-1])
    np.testing.assert_array_equal(flipped[1], straight[1])
    assert not np.array_equal(straight[1], straight[2])
    np.testing.assert_array_equal(read_views(path, 16, draws, "centre", flip=False)[2], read_centre(path, 16))
    alone = read_views(path, 16, draws[1:2], "area", flip=False)[0]
    np.testing.assert_array_equal(alone, read_views(path, 16, draws, "area", flip=False)[1])


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.full((20, 20), 128, np.uint8)
    whole = Image.fromarray(grey.astype(np.uint16) << 8) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    whole.save(path)
    mean = read_centre(path, 8).mean()
    assert mean == pytest.approx(128, abs=8)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b""), "not an image of a known format"),
        (lambda path: path.write_text("<html>404</html>"), "not an image of a known format"),
        (cut_short, "truncated"),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_damaged_files_say_what_is_wrong(tmp_path: Path, damage, reason: str, suffix: str) -> None:
    path = paint(tmp_path / f"a.{suffix}", 0, size=(200, 200))
    damage(path)
    with pytest.raises(UnreadableImageError, match=rf"a\.{suffix} cannot be read: .*{reason}") as error:
        read_centre(path, 8)
    assert error.value.path == path
    if damage is not cut_short:
        with pytest.raises(UnreadableImageError, match=reason):
            check_header(path)
    else:
        check_header(path)


def test_pixels_without_a_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableImageError, match="mode F have no fixed range"):
        read_centre(tmp_path / "a.tif", 4)


def test_unreadable_images_are_found_in_order_with_reasons(tmp_path: Path) -> None:
    paths = [paint(tmp_path / f"{number}.jpg", 0, size=(200, 200)) for number in range(6)]
    cut_short(paths[4])
    paths[1].write_text("no image")
    missing = tmp_path / "missing.png"
    found = unreadable_images([*paths, missing], threads=3)
    assert list(found) == [paths[1], paths[4], missing]
    assert found[paths[1]] == "not an image of a known format"
    assert "truncated" in found[paths[4]]
    assert found[missing] == "no such file"
    # The header of a file that was cut short is in order.
    assert list(unreadable_images([*paths, missing], check="header")) == [paths[1], missing]


def test_checks_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='check must be "header" or "decode", got \'all\''):
        unreadable_images([], check="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        unreadable_images([], threads=0)
