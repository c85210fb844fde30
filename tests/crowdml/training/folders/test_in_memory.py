from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crowdml.training.folders import in_memory
from crowdml.training.folders.in_memory import read_images


def write(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_pixels_come_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (2, 4, 6)).astype(np.uint8)
    colour = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    paths = [write(tmp_path / f"{name}.png", pixels) for name, pixels in zip("ab", grey, strict=True)]
    values = read_images("here", paths, ["a", "b"]).values
    assert values is not None
    assert (values == grey[:, None]).all()
    mixed = read_images("here", [*paths, write(tmp_path / "c.png", colour)], ["a", "b", "c"]).values
    assert mixed is not None
    assert mixed.shape == (3, 3, 4, 6)
    assert (mixed[0] == grey[0]).all()
    assert (mixed[2] == colour.transpose(2, 0, 1)).all()


def test_a_side_cuts_the_middle_square(tmp_path: Path) -> None:
    pixels = np.zeros((4, 16), np.uint8)
    pixels[:, 4:12] = 200
    read = read_images("here", [write(tmp_path / "a.png", pixels)], ["a"], side=2).values
    assert read is not None
    assert read.tolist() == [[[[200, 200], [200, 200]]]]


def test_an_image_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    turned = read_images("here", [write(tmp_path / "a.png", pixels, exif=exif)], ["a"]).values
    assert turned is not None
    assert (turned[0, 0] == np.rot90(pixels, -1)).all()


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    pixels = np.array([[0, 256, 65535]], np.uint16)
    read = read_images("here", [write(tmp_path / "a.png", pixels)], ["a"]).values
    assert read is not None
    assert read[0, 0].tolist() == [[0, 1, 255]]


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    good = write(tmp_path / "a.png", np.full((30, 30), 9, np.uint8))
    cut = write(tmp_path / "b.png", np.random.default_rng(0).integers(0, 256, (30, 30)).astype(np.uint8))
    cut.write_bytes(cut.read_bytes()[:300])
    other = tmp_path / "c.png"
    other.write_text("words")
    found = read_images("here", [cut, good, other], ["b", "a", "c"])
    assert found.ids.tolist() == ["a"]
    assert found.values is not None
    assert (found.values == 9).all()
    assert found.paths == (good,)
    assert [Path(path).name for path, _ in found.skipped] == ["b.png", "c.png"]
    assert found.skipped[1][1] == "not an image of a known format"
    with pytest.raises(ValueError, match=r"none of the 2 images can be read; .*b\.png: "):
        read_images("here", [cut, other], ["b", "c"])


def test_more_than_fits_into_memory_is_refused_before_it_is_read(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    monkeypatch.setattr(in_memory, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match=r"2 images of \(1, 8, 8\) would take .*--stream"):
        read_images("here", [path, path], ["a", "b"])
