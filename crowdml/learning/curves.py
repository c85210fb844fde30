"""Learning curves in a file that outlives an interruption."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Point = tuple[int, str, float]


@dataclass(frozen=True)
class KeptCurves:
    """Points of learning curves, a line each, in the file at `path`."""

    path: Path

    def keep(self, step: int, metric: str, value: float) -> None:
        """Add a point; one that cannot be written, on a full disk, costs the training nothing."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as lines:
                # On a line of its own, even after one that an interruption cut short.
                lines.write("\n" + json.dumps([step, metric, value]))
        except OSError as error:
            warnings.warn(f"a point of the learning curves is not kept: {self.path}: {error}", stacklevel=2)

    def points(self) -> list[Point]:
        """The points kept, in order; of those that were computed again after an interruption the last."""
        lines = self.path.read_text().splitlines() if self.path.is_file() else []
        latest: dict[tuple[int, str], float] = {}
        for line in lines:
            # The first line is empty; one that was cut short is of a point that is computed again.
            with suppress(json.JSONDecodeError):
                step, metric, value = json.loads(line)
                latest[step, metric] = value
        return [
            (step, metric, value) for (step, metric), value in sorted(latest.items(), key=lambda point: point[0][0])
        ]
