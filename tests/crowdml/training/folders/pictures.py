"""Small folders of images for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40))


def paint(path: Path, label: int, seed: int = 0, size: tuple[int, int] = (40, 32)) -> Path:
    """A noisy picture of the colour of its class, in the format of its suffix."""
    rng = np.random.default_rng([label, seed])
    pixels = np.clip(np.array(COLOURS[label]) + rng.integers(-40, 41, (size[1], size[0], 3)), 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def cut_short(path: Path) -> Path:
    """Take the last half of a file off; it still begins as an image."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def imagenet(root: Path, classes: Sequence[str] = ("n01", "n02", "n03"), n_train: int = 8, n_val: int = 4) -> Path:
    """train/CLASS/*.JPEG and val/CLASS/*.JPEG, n_train and n_val images a class."""
    for label, name in enumerate(classes):
        for number in range(n_train):
            paint(root / "train" / name / f"{name}_{number}.JPEG", label, number)
        for number in range(n_val):
            paint(root / "val" / name / f"{name}_{number}.JPEG", label, 1000 + number)
    return root


def clothing1m(root: Path, n_train: int = 6, n_test: int = 3, lists: str = "") -> Path:
    """The lists of the release, and images/SHARD/SHARD/NAME.jpg; every class of the first four occurs."""
    train = [f"images/{number % 10}/{number}/{number},{number}.jpg" for number in range(n_train)]
    test = [f"images/{number % 10}/{number}/{number}.jpg" for number in range(100, 100 + n_test)]
    for place, keys in enumerate((train, test)):
        for number, key in enumerate(keys):
            paint(root / key, number % 4, 100 * place + number)
    folder = root / lists
    folder.mkdir(parents=True, exist_ok=True)
    for kind, keys, split in (("noisy", train, "train"), ("clean", test, "test")):
        (folder / f"{kind}_{split}_key_list.txt").write_text("".join(f"{key}\n" for key in reversed(keys)))
        labels = "".join(f"{key} {number % 4}\n" for number, key in enumerate(keys))
        (folder / f"{kind}_label_kv.txt").write_text(labels + "images/0/0/elsewhere.jpg 13\n")
    return root
