from __future__ import annotations

import os
from pathlib import Path

import pytest

from crowdml.support.names import UnknownNameError
from crowdml.training.folders.layouts import CLOTHING1M_CLASSES, Layout, read_layout
from tests.crowdml.training.folders.pictures import clothing1m, imagenet, paint


def test_flat_takes_images_at_any_depth_and_knows_them_by_their_path(tmp_path: Path) -> None:
    for name in ("b.png", "a/deep/c.JPG", "a.webp"):
        paint(tmp_path / name, 0)
    (tmp_path / "notes.txt").write_text("no image")
    for hidden in ("._b.png", ".cache/d.png"):
        paint(tmp_path / hidden, 0)
    items = read_layout(tmp_path)
    assert items.layout == "flat"
    assert items.train_ids == ("a", "b", "a/deep/c")
    assert items.train_paths == tuple(tmp_path / name for name in ("a.webp", "b.png", "a/deep/c.JPG"))
    assert items.train_labels is items.test_labels is items.class_names is None
    assert items.test_paths == ()


def test_imagenet_takes_classes_from_folders(tmp_path: Path) -> None:
    imagenet(tmp_path, ("n02", "n01"), n_train=3, n_val=2)
    (tmp_path / "train" / "empty").mkdir()
    items = read_layout(tmp_path)
    assert items.layout == "imagenet"
    assert items.class_names == ("n01", "n02")
    assert items.train_ids[0] == "train/n01/n01_0"
    assert items.train_labels is not None
    assert items.test_labels is not None
    assert items.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert items.test_labels.tolist() == [0, 0, 1, 1]
    for paths, labels in ((items.train_paths, items.train_labels), (items.test_paths, items.test_labels)):
        assert [path.parent.name for path in paths] == [("n01", "n02")[label] for label in labels]


def test_imagenet_without_test_images(tmp_path: Path) -> None:
    items = read_layout(imagenet(tmp_path, n_val=0))
    assert items.test_paths == ()
    assert items.test_labels is None


@pytest.mark.parametrize("lists", ["", "annotations"])
def test_clothing1m_as_released(tmp_path: Path, lists: str) -> None:
    items = read_layout(clothing1m(tmp_path, n_train=6, n_test=3, lists=lists))
    assert items.layout == "clothing1m"
    assert items.class_names == CLOTHING1M_CLASSES
    assert len(CLOTHING1M_CLASSES) == 14
    # The lists stand in another order than the labels.
    assert items.train_ids[:2] == ("images/5/5/5,5", "images/4/4/4,4")
    assert items.train_labels is not None
    assert items.test_labels is not None
    assert items.train_labels.tolist() == [1, 0, 3, 2, 1, 0]
    assert items.test_labels.tolist() == [2, 1, 0]
    assert all(path.is_file() for path in items.train_paths + items.test_paths)


def test_clothing1m_takes_its_own_class_names(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(14)]
    (clothing1m(tmp_path) / "category_names_eng.txt").write_text("\n".join(names))
    assert read_layout(tmp_path).class_names == tuple(names)
    (tmp_path / "category_names_eng.txt").write_text("one\n")
    with pytest.raises(ValueError, match=r"category_names_eng\.txt must have 14 lines, one per class, got 1"):
        read_layout(tmp_path)


@pytest.mark.parametrize("name", ["noisy_train_key_list", "noisy_label_kv", "clean_test_key_list", "clean_label_kv"])
def test_a_missing_list_is_named(tmp_path: Path, name: str) -> None:
    (clothing1m(tmp_path) / f"{name}.txt").unlink()
    with pytest.raises(ValueError, match=rf"{tmp_path} does not have the layout clothing1m; looked for {name}\.txt"):
        read_layout(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("images/1/1/1.jpg", "line 2"),
        ("images/1/1/1.jpg 14", "label below 14"),
        ("images/1/1/1.jpg -1", "line 2"),
        ("images/1/1/1.jpg shirt", "line 2"),
        ("images/1/1/1.jpg 3", "has no label for 5 of 6 images, the first is images/5/5/5,5.jpg"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, line: str, message: str) -> None:
    (clothing1m(tmp_path) / "noisy_label_kv.txt").write_text(f"images/0/0/0,0.jpg 0\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_layout(tmp_path)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("auto", "holds no images; looked for .bmp"),
        ("flat", "holds no images"),
        ("imagenet", "does not have the layout imagenet; looked for train/CLASS/"),
        ("clothing1m", "does not have the layout clothing1m; looked for noisy_train_key_list.txt"),
    ],
)
def test_a_folder_without_the_layout(tmp_path: Path, layout: Layout, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_layout(tmp_path, layout)
    assert str(tmp_path) in str(error.value)


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere is not a folder"):
        read_layout(tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match="did you mean imagenet"):
        read_layout(tmp_path, "imagnet")  # pyright: ignore[reportArgumentType]
    imagenet(tmp_path)
    paint(tmp_path / "val" / "n99" / "x.png", 0)
    with pytest.raises(ValueError, match="has 1 classes that train/ lacks, the first is n99"):
        read_layout(tmp_path)


def test_images_that_only_their_ending_tells_apart_keep_it_in_their_ids(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.png", "c.png", "c.png.jpg", "d/a.png"):
        paint(tmp_path / name, 0)
    assert read_layout(tmp_path).train_ids == ("a.jpg", "a.png", "b", "c", "c.png.jpg", "d/a")


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".Tif", ".dib", ".pbm", ".tga", ".JP2", ".apng"])
def test_every_ending_that_pillow_decodes_is_of_an_image(tmp_path: Path, suffix: str) -> None:
    """A class whose images all have a rare ending is a class like the others."""
    imagenet(tmp_path, ("n01",), n_train=2, n_val=0)
    paint(tmp_path / "train" / "n02" / f"a{suffix}", 1)
    items = read_layout(tmp_path)
    assert items.class_names == ("n01", "n02")
    assert items.train_ids[-1] == "train/n02/a"
    assert items.left_out == ()


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 0)
    paint(tmp_path / ".cache" / "b.png", 0)
    for name in ("notes.txt", "photo.heic", "image", "._a.png", "folder.png/x.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).touch()
    items = read_layout(tmp_path)
    assert items.train_ids == ("a",)
    kinds: dict[str, list[str]] = {}
    for file, reason in items.left_out:
        kinds.setdefault(reason, []).append(os.path.relpath(file, tmp_path))
    assert kinds == {
        "hidden files and folders": ["._a.png", ".cache"],
        "files without the ending of an image": ["image", "notes.txt", "photo.heic", "folder.png/x.csv"],
        "pipes, devices and links to nothing": ["lost.png", "pipe.png", "self.png"],
        "files and folders whose name is not UTF-8": ["\\xff.png"],
    }
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"holds no images; .*; other files there: 10 \(.*\._a\.png, "):
        read_layout(tmp_path)


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    root = tmp_path / "items"
    paint(root / "a" / "x.png", 0)
    paint(tmp_path / "elsewhere" / "y.png", 0)
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    (root / "a" / "up").symlink_to(root)
    (root / "b").symlink_to(root / "a")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "d").symlink_to(tmp_path / "elsewhere")
    (root / "e").symlink_to(tmp_path)
    (root / "z.png").symlink_to(root / "a" / "x.png")
    items = read_layout(root)
    assert items.train_ids == ("z", "a/x", "c/y")
    assert [os.path.relpath(file, root) for file, _ in items.left_out] == ["b", "d", "e", "a/up", "c/back"]
    assert {reason for _, reason in items.left_out} == {"links to folders that are read anyway or lead in a circle"}
    paint(tmp_path / "elsewhere" / "deep" / "w.png", 0)
    (tmp_path / "set" / "train").mkdir(parents=True)
    for name, place in (("cat", tmp_path / "elsewhere" / "deep"), ("dog", root / "a")):
        (tmp_path / "set" / "train" / name).symlink_to(place)
    assert read_layout(tmp_path / "set").train_ids == ("train/cat/w", "train/dog/x")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(tmp_path / "a.png", 0)
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def refuse(place: Path):
        if Path(place).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    assert read_layout(tmp_path).left_out == ((str(tmp_path / "locked"), "folders that cannot be read"),)


def test_classes_without_an_image_are_named(tmp_path: Path) -> None:
    imagenet(tmp_path, n_train=2, n_val=1)
    for part in ("train", "val"):
        (tmp_path / part / "n04").mkdir()
        (tmp_path / part / "n05").mkdir()
        (tmp_path / part / "n05" / "a.heic").touch()
        paint(tmp_path / part / "alone.png", 0)
    items = read_layout(tmp_path)
    assert items.class_names == ("n01", "n02", "n03")
    assert len(items.train_ids) == 6
    named = [(os.path.relpath(file, tmp_path / "train"), reason) for file, reason in items.left_out[:4]]
    assert named == [
        ("n04", "class folders without an image"),
        ("n05", "class folders without an image"),
        ("alone.png", "images in no class folder"),
        ("n05/a.heic", "files without the ending of an image"),
    ]
    assert len(items.left_out) == 8
