"""Learning curves in a file, so that they survive an interruption."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Point = tuple[int, str, float]
"""(step, metric, value); a step is an epoch, counted from 1 over all trainings."""

_MOST_STEPS = 1 << 53


@dataclass(frozen=True)
class KeptCurves:
    """Points of learning curves in the file at `path`, one JSON list per line."""

    path: Path

    def keep(self, step: int, metric: str, value: float) -> None:
        """Append a point.  If the point cannot be written, for example on a full disk, warn and continue."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as lines:
                # The newline comes first, because an interruption may have left an incomplete last line.
                lines.write("\n" + json.dumps([step, metric, value]))
        except OSError as error:
            warnings.warn(f"cannot write a point of the learning curves to {self.path}: {error}", stacklevel=2)

    def points(self) -> list[Point]:
        """Return the points, sorted by step; lines that hold no point are left out.

        If an epoch was repeated after an interruption, its last value counts.
        """
        lines = self.path.read_text(errors="replace").splitlines() if self.path.is_file() else []
        # An interruption may have left an incomplete line, whose point is computed again.
        points = filter(None, map(_point, lines))
        latest = {(step, metric): value for step, metric, value in points}
        return sorted(((*point, value) for point, value in latest.items()), key=lambda point: point[0])


def _point(line: str) -> Point | None:
    """Return the point in a line of the file; None if the line holds no point."""
    with suppress(ValueError, RecursionError, OverflowError):
        match json.loads(line):
            case [int(step), str(metric), (int() | float()) as value] if 0 <= step < _MOST_STEPS:
                return step, metric, float(value)
    return None
