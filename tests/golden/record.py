"""The golden record: where it lies, how it is compared, and, run as a program, how it is made anew.

`python -m tests.golden.record` computes every case and writes the file.  Do so only where values shall change.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import torch

from crowdml.support.device_info import describe_device
from tests.golden.cases import all_cases, compute

PATH = Path(__file__).with_name("record.json")


def machine() -> dict[str, str]:
    """Say what trained values depend on."""
    return {"processor": describe_device("cpu"), "torch": torch.__version__}


def load() -> dict[str, Any]:
    """Read the record: the machine that it was made on, and each case's values by its key."""
    return json.loads(PATH.read_text())


def differences(expected: Any, found: Any, tolerance: float, place: str = "") -> list[str]:
    """List where two results differ: floats by a relative and absolute tolerance, all else exactly."""
    if isinstance(expected, dict) and isinstance(found, dict):
        listed = [f"{place}{key}: only in one of the two" for key in sorted(expected.keys() ^ found.keys())]
        for key in expected.keys() & found.keys():
            listed += differences(expected[key], found[key], tolerance, f"{place}{key} ")
        return listed
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return [f"{place}: {len(expected)} values recorded, {len(found)} found"]
        pairs = enumerate(zip(expected, found, strict=True))
        return [text for at, (a, b) in pairs for text in differences(a, b, tolerance, f"{place}[{at}]")]
    if isinstance(expected, float) and isinstance(found, float):
        same = math.isclose(expected, found, rel_tol=tolerance, abs_tol=tolerance)
    else:
        same = type(expected) is type(found) and expected == found
    return [] if same else [f"{place}: {expected!r} recorded, {found!r} found"]


def write() -> None:
    """Compute every case and write the record, a case a line."""
    start, lines = time.perf_counter(), []
    for key, case in all_cases().items():
        before = time.perf_counter()
        values = json.dumps(compute(case), allow_nan=False, separators=(",", ":"))
        lines.append(f"{json.dumps(key)}: {values}")
        if (seconds := time.perf_counter() - before) > 0.5:
            print(f"{key}: {seconds:.1f} s")
    text = ",\n".join(lines)
    PATH.write_text(f'{{"machine": {json.dumps(machine())},\n"cases": {{\n{text}\n}}}}\n')
    seconds = time.perf_counter() - start
    print(f"{len(lines)} cases in {seconds:.0f} s, {PATH.stat().st_size / 1000:.0f} kB: {PATH}")


if __name__ == "__main__":
    write()
