from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]  # made by protobuf

from sweeps.watching.scalars import TensorBoardScalars
from tests.sweeps.watching.test_live_view import FULL


def points(folder: Path) -> Iterator[tuple[str, int, float]]:
    """What a reader of TensorFlow's record files finds: length, checksum, event, checksum."""
    (file,) = folder.iterdir()
    content, at = file.read_bytes(), 0
    while at < len(content):
        (size,) = struct.unpack_from("<Q", content, at)
        event = Event.FromString(content[at + 12 : at + 12 + size])
        yield from ((value.tag, event.step, value.simple_value) for value in event.summary.value)
        at += size + 16


def test_the_numbers_are_scalars_over_the_seconds(tmp_path: Path) -> None:
    sink = TensorBoardScalars(tmp_path / "run")
    sink(FULL)
    sink(replace(FULL, elapsed=3710.0, n_ok=21, share_in_cells=None))
    sink.close()
    found = {(tag, step): value for tag, step, value in points(tmp_path / "run")}
    assert found["cells/done", 3700] == 25
    assert found["cells/done", 3710] == 26
    assert found["time/eta_seconds", 3700] == 75
    assert found["time/share_in_cells", 3700] == 0.875
    assert ("time/share_in_cells", 3710) not in found
    assert found["method/mv", 3700] == 0.5
    assert found["n_workers/3", 3700] == 1
    assert found["best_aggregation_error/flip_0_workers", 3700] == 0.125
