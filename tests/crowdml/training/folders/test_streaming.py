from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from crowdml.training.folders import streaming
from crowdml.training.folders.decoding import UnreadableImageError, read_centre
from crowdml.training.folders.streaming import Streamed
from tests.crowdml.training.folders.pictures import paint

SIDE = 12
SCALE, SHIFT = (0.01, 0.02, 0.03), (0.5, 0.25, 0.125)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    return [paint(folder / f"{number}.png", number % 4, number, size=(20 + number, 16)) for number in range(30)]


def streamed(paths: list[Path], **more) -> Streamed:
    return Streamed(paths, **{"side": SIDE, "scale": SCALE, "shift": SHIFT, **more})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def n_threads() -> int:
    return sum(thread.name.startswith("decode") for thread in threading.enumerate())


def test_batches_are_the_images_normalised(paths: list[Path]) -> None:
    inputs = streamed(paths, threads=3)
    assert len(inputs) == 30
    assert inputs.device == torch.device("cpu")
    wanted = [torch.tensor([3, 29, 3]), torch.tensor([7])]
    batches = list(inputs.batches(wanted))
    assert [len(batch) for (batch,) in batches] == [3, 1]
    for items, (batch,) in zip(wanted, batches, strict=True):
        for item, image in zip(items, batch, strict=True):
            pixels = read_centre(paths[int(item)], SIDE).transpose(2, 0, 1)
            expected = pixels * np.reshape(SCALE, (3, 1, 1)) - np.reshape(SHIFT, (3, 1, 1))
            np.testing.assert_allclose(image.numpy(), expected, atol=1e-5)
            assert image.dtype == torch.float32


def test_without_augmentation_views_are_one_image(paths: list[Path]) -> None:
    first, second = next(streamed(paths).batches([torch.arange(2)], views=2))
    assert first is second
    assert list(streamed(paths).batches([])) == []


@pytest.mark.parametrize("kind", ["flip", "crop", "crop_flip"])
def test_augmentation_follows_the_generator_however_many_threads(paths: list[Path], kind: str) -> None:
    def epoch(seed: int, threads: int) -> list[tuple[torch.Tensor, ...]]:
        inputs = streamed(paths, threads=threads)
        return list(inputs.batches(torch.arange(30).split(7), kind=kind, generator=generator(seed), views=2))

    one, same, other = epoch(0, 1), epoch(0, 4), epoch(1, 4)
    for ours, theirs in zip(one, same, strict=True):
        assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))
        assert not torch.equal(ours[0], ours[1])
    assert not torch.equal(one[0][0], other[0][0])


def test_flipping_is_all_that_flip_does(paths: list[Path]) -> None:
    inputs = streamed(paths)
    (straight,) = next(inputs.batches([torch.arange(30)]))
    (flipped,) = next(inputs.batches([torch.arange(30)], kind="flip", generator=generator()))
    mirrored = [not torch.equal(ours, theirs) for ours, theirs in zip(flipped, straight, strict=True)]
    assert 5 < sum(mirrored) < 25
    for image, whole, was in zip(flipped, straight, mirrored, strict=True):
        assert torch.equal(image, whole.flip(2) if was else whole)


def test_few_images_are_decoded_ahead(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_AHEAD", 20)
    done: list[int] = []
    monkeypatch.setattr(streaming, "read_centre", lambda path, side: done.append(1) or read_centre(path, side))
    many = [*paths] * 20
    taken = 0
    for (batch,) in streamed(many, threads=2).batches(torch.arange(len(many)).split(10)):
        taken += len(batch)
        time.sleep(0.002)
        assert len(done) <= taken + 20  # two batches in the making
    assert len(done) == taken == 600


def test_threads_do_not_outlive_an_epoch(paths: list[Path]) -> None:
    inputs = streamed(paths, threads=3)
    for _ in range(3):
        for _ in inputs.batches(torch.arange(30).split(4)):
            pass
        assert n_threads() == 0
    begun = inputs.batches(torch.arange(30).split(4))
    next(begun)
    assert n_threads() == 3
    begun.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert n_threads() == 0


def test_an_unreadable_image_ends_the_epoch_by_name(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("x")
    inputs = streamed([*paths, tmp_path / "bad.jpg"])
    with pytest.raises(UnreadableImageError, match=r"bad\.jpg cannot be read: not an image"):
        list(inputs.batches([torch.arange(31)]))
    assert n_threads() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"side": 0}, "side must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"train_crop": "corner"}, 'train_crop must be "shift" or "area", got \'corner\''),
    ],
)
def test_values_out_of_range(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        streamed([], **settings)
