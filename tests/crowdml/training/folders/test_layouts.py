from __future__ import annotations

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


def test_images_that_only_their_suffix_tells_apart(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 0)
    paint(tmp_path / "a.jpg", 0)
    with pytest.raises(ValueError, match="have the same id 'a'"):
        read_layout(tmp_path)
