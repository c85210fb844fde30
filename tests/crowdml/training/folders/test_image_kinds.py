"""Images of every kind: what is read into memory is what is streamed, and both are right."""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crowdml.training.folders import decoding
from crowdml.training.folders.decoding import (
    UnreadableImageError,
    centre_box,
    check_header,
    read_centre,
    read_head,
    read_whole,
    unreadable_images,
)
from crowdml.training.folders.formats import SUFFIXES
from crowdml.training.folders.in_memory import read_images
from tests.crowdml.training.folders.pictures import paint

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
ORIENTED = ["png", "jpg", "webp", "tif"]
# The modes that a format can hold, as Pillow calls them.
MODES = {
    "png": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "tif": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16"],
    "jpg": ["L", "RGB", "CMYK"],
    "gif": ["1", "L", "P"],
    "bmp": ["1", "L", "P", "RGB", "RGBA"],
    "webp": ["RGB", "RGBA"],
    "tga": ["L", "RGB", "RGBA"],
    "ppm": ["1", "L", "RGB", "I;16"],
    "jp2": ["L", "RGB"],
}


def write(path: Path, image: Image.Image | np.ndarray, **options) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def picture(mode: str, size: tuple[int, int] = (21, 16)) -> Image.Image:
    coarse = Image.fromarray(PIXELS).resize(size, Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(coarse.convert("L")).astype(np.uint16) * 257)
    return coarse.convert(mode)


def in_memory(path: Path, **options) -> np.ndarray:
    values = read_images("here", [path], ["a"], **options).values
    assert values is not None
    return values[0].transpose(1, 2, 0)


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in MODES.items() for mode in modes])
def test_memory_and_stream_hold_the_same_pixels(tmp_path: Path, suffix: str, mode: str) -> None:
    path = write(tmp_path / f"a.{suffix}", picture(mode))
    for side in (4, 15, 16, 40):
        streamed = read_centre(path, side)
        np.testing.assert_array_equal(in_memory(path, side=side, channels=3), streamed)
        grey = in_memory(path, side=side, channels=1)[..., 0]
        luma = streamed @ np.array([0.299, 0.587, 0.114])
        assert np.abs(grey - luma).max() <= 2  # colours are rounded before and after
    whole = in_memory(path, channels=3).astype(int)
    assert whole.shape == (16, 21, 3)
    wanted = np.asarray(picture("L" if mode in ("1", "L", "LA", "I;16") else "RGB").convert("RGB")).astype(int)
    if mode == "1":
        wanted = np.asarray(picture("1").convert("RGB")).astype(int)
    # Palettes, LAB and colours of a coarser grid lose some of such a colourful picture; black would be off by 120.
    loses = suffix in ("jpg", "gif", "webp") or mode in ("P", "LAB", "YCbCr")
    assert np.abs(whole - wanted).mean() < (25 if loses else 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ORIENTED)
def test_an_image_is_upright_in_memory_and_streamed(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20], upright[:12, 20:], upright[12:, :20] = 250, 170, 90
    # What makes the stored picture upright, undone.
    undone = {2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.transpose(1, 0, 2),
              6: lambda x: np.rot90(x, 1), 7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
              8: lambda x: np.rot90(x, -1)}  # fmt: skip
    stored = np.ascontiguousarray(undone.get(orientation, np.array)(upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path / f"a.{suffix}", stored, exif=exif, quality=95)
    head = read_head(path)
    assert (head.width, head.height) == (40, 24)
    np.testing.assert_allclose(in_memory(path).astype(int), upright, atol=60 if suffix == "webp" else 25)
    corners = [pixels[[1, 1, -2, -2], [1, -2, 1, -2], 0] for pixels in (read_centre(path, 8), in_memory(path, side=8))]
    np.testing.assert_array_equal(corners[0], corners[1])
    np.testing.assert_allclose(corners[0].astype(int), [250, 170, 90, 0], atol=20)
    views = decoding.read_views(path, 8, np.full((1, 5), 0.5, np.float32), "shift", flip=False)[0]
    np.testing.assert_allclose(views.astype(int), read_centre(path, 8), atol=1)


def test_a_large_photo_is_turned_though_it_is_decoded_smaller(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = picture("RGB", (1600, 900))
    turned = write(tmp_path / "a.jpg", stored, exif=exif)
    upright = write(tmp_path / "b.png", stored.transpose(Image.Transpose.ROTATE_270))
    assert np.abs(read_centre(turned, 32).astype(int) - read_centre(upright, 32)).max() <= 6


def test_damaged_exif_data_leave_the_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", picture("RGB"), exif=b"Exif\0\0nonsense" * 3)
    np.testing.assert_array_equal(in_memory(path, side=8), read_centre(path, 8))


def tiff(path: Path, values: np.ndarray, bits: int, *, order: str, photometric: int = 1) -> Path:
    """Write a grey TIFF with samples of 16 bits by hand, in the given byte order; 12 bits are packed."""
    height, width = values.shape
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(np.uint32)
        packed = pairs[:, 0] << 12 | pairs[:, 1]
        content = b"".join(int(pair).to_bytes(3, "big") for pair in packed)
    else:
        content = values.astype(f"{order}u2").tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, height),
            (279, len(content))]  # fmt: skip
    content += b"\0" * (len(content) % 2)
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HI", 42, 8 + len(content))
    path.write_bytes(head + content + struct.pack(f"{order}H", len(tags)) + entries + b"\0\0\0\0")
    return path


@pytest.mark.parametrize("kind", ["<16", ">16", "12 bits", "negative", "png", "pgm", "pgm 12 bits"])
def test_deep_grey_keeps_its_highest_bits(tmp_path: Path, kind: str) -> None:
    shallow = np.array([[0, 1, 100, 255], [7, 128, 200, 250]])
    deep = shallow * 256 + 5
    path = tmp_path / "a.tif"
    if kind in ("<16", ">16"):
        tiff(path, deep, 16, order=kind[0])
    elif kind == "12 bits":
        tiff(path, shallow * 16 + 3, 12, order="<")
    elif kind == "negative":
        tiff(path, 65535 - deep, 16, order="<", photometric=0)
    elif kind == "png":
        path = write(tmp_path / "a.png", deep.astype(np.uint16))
    else:
        most, values = (65535, deep) if kind == "pgm" else (4095, shallow * 16 + 3)
        path = tmp_path / "a.pgm"
        path.write_bytes(f"P5 4 2 {most}\n".encode() + values.astype(">u2").tobytes())
    assert in_memory(path, channels=1)[..., 0].tolist() == shallow.tolist()
    assert in_memory(path).shape == (2, 4, 1)
    assert (in_memory(path, channels=3) == shallow[..., None]).all()


@pytest.mark.parametrize("kind", ["float", "int32", "pfm"])
def test_pixels_without_a_range_are_left_out_by_all_readers(tmp_path: Path, kind: str) -> None:
    values = np.full((8, 8), 40_000, np.int32) if kind == "int32" else np.full((8, 8), 0.5, np.float32)
    path = write(tmp_path / ("a.pfm" if kind == "pfm" else "a.tif"), values)
    good = write(tmp_path / "b.png", np.full((5, 5), 9, np.uint8))
    for read in (check_header, read_head, read_whole, lambda place: read_centre(place, 8)):
        with pytest.raises(UnreadableImageError, match="have no fixed range; save the image with 8 or 16 bits"):
            read(path)
    assert set(unreadable_images([path, good], check="header")) == {path}
    items = read_images("here", [path, good], ["a", "b"])  # the size and the mode of the bad file do not count
    assert (items.ids.tolist(), items.in_shape, len(items.skipped)) == (["b"], (1, 5, 5), 1)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "L"])
def test_transparent_parts_are_white(tmp_path: Path, mode: str) -> None:
    """A black drawing on a transparent ground, whose hidden colour is black too."""
    path = tmp_path / "a.png"
    if mode in ("LA", "RGBA"):
        pixels = np.zeros((4, 4, len(mode)), np.uint8)
        pixels[0, :, -1] = 255
        pixels[1, :, -1] = 51
        write(path, pixels)
    else:
        indices = np.ones((4, 4), np.uint8)
        indices[0] = 0
        image = Image.fromarray(indices)
        if mode == "P":
            image.putpalette([0, 0, 0, 0, 0, 0])
        write(path, image, transparency=1)
    found = in_memory(path, channels=3)
    assert (found[0] == 0).all()
    assert (found[2:] == 255).all()
    if mode in ("LA", "RGBA"):
        assert (found[1] == 204).all()
        assert in_memory(path, channels=1)[:, 0, 0].tolist() == [0, 204, 255, 255]
    np.testing.assert_array_equal(read_centre(path, 4), found)


def test_a_transparent_value_of_16_bits_is_white(tmp_path: Path) -> None:
    values = np.array([[7, 7], [7 + 256, 40_000]], np.uint16)
    path = write(tmp_path / "a.png", values)
    content = path.read_bytes()
    name = b"tRNS" + struct.pack(">H", 7)
    chunk = struct.pack(">I", 2) + name + struct.pack(">I", zlib.crc32(name))
    place = content.index(b"IDAT") - 4
    path.write_bytes(content[:place] + chunk + content[place:])
    assert in_memory(path)[..., 0].tolist() == [[255, 255], [1, 156]]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_frame_is_the_image(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), grey, np.uint8)) for grey in (40, 120, 240)]
    path = write(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 3
    for pixels in (in_memory(path), in_memory(path, side=4), read_centre(path, 4)):
        np.testing.assert_allclose(pixels.astype(int), 40, atol=3)


def test_the_square_in_the_middle_keeps_the_border_of_images_without_pixels_to_spare(tmp_path: Path) -> None:
    assert centre_box(32, 32, 32) == (0, 0, 32, 32)
    assert centre_box(28, 28, 32) == (0, 0, 28, 28)
    assert centre_box(34, 34, 32) == (1, 1, 33, 33)
    assert centre_box(512, 256, 224) == (144, 16, 368, 240)
    exact = np.random.default_rng(1).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    path = write(tmp_path / "a.png", exact)
    np.testing.assert_array_equal(read_centre(path, 16), exact)
    np.testing.assert_array_equal(in_memory(path, side=16), exact)
    path = write(tmp_path / "b.png", np.pad(exact, ((1, 1), (3, 3), (0, 0))))
    np.testing.assert_array_equal(read_centre(path, 16), exact)


def test_an_image_with_far_too_many_pixels_is_refused_in_one_line(tmp_path: Path) -> None:
    """A PNG of a few bytes that claims 40,000 x 40,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    for check in ("header", "decode"):
        (reason,) = unreadable_images([path], check=check).values()
        assert "1600000000 pixels) exceeds limit" in reason
        assert "\n" not in reason
    with pytest.raises(ValueError, match="none of the 1 images can be read"):
        read_images("here", [path], ["a"])


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file that is cut short, lacks a part, or has some other bytes."""
    changed, at = bytearray(content), int(rng.integers(len(content)))
    kind = rng.integers(4)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[at + int(rng.integers(1, 30)) :]
    places = rng.integers(len(content), size=5) if kind == 2 else rng.integers(min(60, len(content)), size=1)
    for place in places:
        changed[place] = rng.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("suffix", MODES)
@pytest.mark.filterwarnings("ignore:::PIL")
def test_of_a_damaged_file_all_readers_say_the_same(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(len(suffix))
    contents = [write(tmp_path / f"good.{suffix}", picture(mode)).read_bytes() for mode in MODES[suffix]]
    path = tmp_path / f"a.{suffix}"
    for number in range(40):
        path.write_bytes(damaged(contents[number % len(contents)], rng))
        reason = unreadable_images([path]).get(path)
        if reason is None:
            np.testing.assert_array_equal(in_memory(path, side=16, channels=3), read_centre(path, 16))
            continue
        assert "\n" not in reason
        for options in ({"side": 16}, {}):
            with pytest.raises(ValueError, match="none of the 1 images can be read"):
                read_images("here", [path], ["a"], **options)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert unreadable_images([tmp_path / "a.png"]) == {tmp_path / "a.png": "not a file"}


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = paint(tmp_path / "a.png", 0)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    assert unreadable_images([path]) == {path: "Permission denied"}


def test_no_other_program_is_run_for_an_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    assert unreadable_images([path]) == {path: "not an image of a known format"}
    assert not SUFFIXES & {".eps", ".ps", ".wmf", ".emf", ".h5", ".pdf", ".mpg"}


def test_the_error_can_be_sent_to_another_process() -> None:
    error = UnreadableImageError(Path("a.png"), "truncated")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.reason) == (str(error), error.path, error.reason)
    assert str(error) == "a.png cannot be read: truncated"
