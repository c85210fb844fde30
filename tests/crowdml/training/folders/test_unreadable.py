from __future__ import annotations

from pathlib import Path

import pytest

from crowdml.training.folders.unreadable import unreadable_images
from tests.crowdml.training.folders.pictures import cut_short, paint


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


def test_values_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='check must be "header" or "decode", got \'all\''):
        unreadable_images([], check="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        unreadable_images([], threads=0)
