from __future__ import annotations

from pathlib import Path

import pytest

from crowdml.training.folders import drop_unreadable, read_layout, unreadable_images
from tests.crowdml.training.folders.pictures import cut_short, imagenet, paint


def test_unreadable_images_are_found_in_order_with_reasons(tmp_path: Path) -> None:
    paths = [paint(tmp_path / f"{number}.jpg", 0, size=(200, 200)) for number in range(6)]
    cut_short(paths[4])
    paths[1].write_text("no image")
    missing = tmp_path / "missing.png"
    found = unreadable_images([*paths, missing], workers=3)
    assert [path for path, _ in found] == [paths[1], paths[4], missing]
    assert found[0][1] == "not an image of a known format"
    assert "truncated" in found[1][1]
    assert found[2][1] == "no such file"
    # The header of a file that was cut short is in order.
    assert [path for path, _ in unreadable_images([*paths, missing], check="header")] == [paths[1], missing]


def test_what_cannot_be_read_is_dropped_with_its_label(tmp_path: Path) -> None:
    items = read_layout(imagenet(tmp_path, n_train=3, n_val=2))
    assert drop_unreadable(items) == (items, [])
    for path in (items.train_paths[4], items.test_paths[0]):
        path.write_bytes(b"")
    kept, skipped = drop_unreadable(items)
    assert [path for path, _ in skipped] == [items.train_paths[4], items.test_paths[0]]
    assert kept.train_ids == items.train_ids[:4] + items.train_ids[5:]
    assert kept.test_paths == items.test_paths[1:]
    assert kept.train_labels is not None
    assert kept.test_labels is not None
    assert kept.train_labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert kept.test_labels.tolist() == [0, 1, 1, 2, 2]


def test_no_image_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(ValueError, match=r"none of the 1 training images can be read; .*a\.png: not an image"):
        drop_unreadable(read_layout(tmp_path))


def test_values_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='check must be "header" or "decode", got \'all\''):
        unreadable_images([], check="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        unreadable_images([], workers=0)
