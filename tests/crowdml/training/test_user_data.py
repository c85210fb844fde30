from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crowdml.training import user_data
from crowdml.training.user_data import STREAMED_SIDE, ImageOptions, read_data
from tests.crowdml.training.folders.pictures import clothing1m, cut_short, imagenet, paint

STREAM = ImageOptions(stream=True, side=8)


def test_streamed_images_that_cannot_be_read_are_left_out_with_their_labels(tmp_path: Path) -> None:
    imagenet(tmp_path, n_train=3, n_val=2)
    cut = cut_short(tmp_path / "train" / "n02" / "n02_1.JPEG")
    empty = tmp_path / "val" / "n01" / "n01_0.JPEG"
    empty.write_bytes(b"")
    data = read_data(tmp_path, images=STREAM)
    assert data.items.values is None
    assert [file for file, _ in data.items.skipped] == [str(cut)]
    assert "train/n02/n02_1" not in data.items.ids
    assert data.crowd is not None
    assert data.crowd.label.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert data.test is not None
    assert [file for file, _ in data.test.skipped] == [str(empty)]
    assert len(data.test) == 5


def test_a_header_check_finds_less_than_decoding(tmp_path: Path) -> None:
    imagenet(tmp_path, n_train=3, n_val=0)
    cut_short(paint(tmp_path / "train" / "n02" / "n02_1.JPEG", 0, size=(200, 200)))
    assert not read_data(tmp_path, images=replace(STREAM, check="header")).items.skipped
    assert len(read_data(tmp_path, images=STREAM).items.skipped) == 1


def test_images_that_were_checked_are_not_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imagenet(tmp_path, n_train=3, n_val=0)
    cut = cut_short(tmp_path / "train" / "n02" / "n02_1.JPEG")
    first = read_data(tmp_path, images=STREAM).items
    known = {first.checked: {Path(file): reason for file, reason in first.skipped}}
    n_checked = []
    monkeypatch.setattr(user_data, "unreadable_images", lambda paths, *_, **__: n_checked.append(len(paths)) or {})
    again = read_data(tmp_path, images=STREAM, checked=known).items
    assert (again.ids.tolist(), again.skipped) == (first.ids.tolist(), first.skipped)
    assert n_checked == []
    cut.touch()  # a file that has changed must be checked again
    assert len(read_data(tmp_path, images=STREAM, checked=known).items) == 9
    assert n_checked == [9]


def test_no_image_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(ValueError, match=r"none of the 1 images can be read; .*a\.png: not an image"):
        read_data(tmp_path, images=STREAM)


def test_a_missing_image_of_a_list_is_skipped(tmp_path: Path) -> None:
    clothing1m(tmp_path, n_train=6, n_test=3)
    missing = tmp_path / "images/2/2/2,2.jpg"
    missing.unlink()
    assert read_data(tmp_path, images=STREAM).items.skipped == ((str(missing), "no such file"),)


def test_the_side_of_streamed_images_has_a_default() -> None:
    assert ImageOptions(stream=True).side == STREAMED_SIDE
    assert ImageOptions().side is None


def test_a_crop_for_streamed_images_needs_streaming() -> None:
    with pytest.raises(ValueError, match='train_crop "area" is for streamed images; add --stream'):
        ImageOptions(train_crop="area")


def test_an_image_has_one_channel_or_three() -> None:
    with pytest.raises(ValueError, match=r"channels must be 1 \(grey\) or 3 \(RGB\), got 4"):
        ImageOptions(channels=4)
