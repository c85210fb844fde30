"""The folder of one training: what was asked for, checkpoints while it runs, and the report that says it is done."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from crowdml.learning.curves import KeptCurves, Point

SETTINGS, REPORT, CHECKPOINTS = "settings.json", "report.json", "checkpoints"
_CURVES = "curves.jsonl"


class State(Enum):
    """What a folder holds of the training that is asked for."""

    FRESH = "nothing"
    STARTED = "a part"
    DONE = "all"


class OtherRunError(ValueError):
    """The folder holds a training with other settings."""


@dataclass(frozen=True)
class RunFolder:
    """The folder at `path`."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Where the trainings keep their state until the run is done."""
        return self.path / CHECKPOINTS

    def begin(self, settings: Mapping[str, Any], *, overwrite: bool) -> State:
        """Make the folder, or take it up again.

        Args:
            settings: everything that the result depends on, as JSON-able values.
            overwrite: forget what an earlier run left here.

        Raises:
            OtherRunError: it holds a run with other settings; says which differ.
            OSError: the folder cannot be made.
        """
        wanted = json.loads(json.dumps(settings))
        there = self.path / SETTINGS
        if overwrite:
            # The settings go last: whatever is left if this is cut short still says whose it is.
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            for name in (REPORT, SETTINGS):
                (self.path / name).unlink(missing_ok=True)
        if not there.is_file():
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(there, wanted)
            return State.FRESH
        before = _read(there)
        if before != wanted and not self._holds_work():
            # That run was refused, or stopped before it came to anything.
            write_json(there, wanted)
            return State.FRESH
        if before != wanted:
            raise OtherRunError(
                f"{self.path} holds a run with other settings ({_difference(before, wanted)}); "
                "choose another --out, or --overwrite"
            )
        return State.DONE if (self.path / REPORT).is_file() else State.STARTED

    def keep_point(self, step: int, metric: str, value: float) -> None:
        """Add a point to the learning curves, which outlive an interruption."""
        self._kept_curves.keep(step, metric, value)

    def curves(self) -> list[Point]:
        """The points kept, in order; of those that were computed again after an interruption the last."""
        return self._kept_curves.points()

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write the report, which makes the run one that is done, and drop the checkpoints."""
        write_json(self.path / REPORT, report)
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    @property
    def _kept_curves(self) -> KeptCurves:
        return KeptCurves(self.checkpoints / _CURVES)

    def _holds_work(self) -> bool:
        return (self.path / REPORT).is_file() or any(self.checkpoints.glob("*.pt"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    partial.write_text(json.dumps(values, indent=1) + "\n")
    partial.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise OtherRunError(f"{path} is not of this program ({error}); choose another --out, or --overwrite") from error


def _difference(before: Mapping[str, Any], wanted: Mapping[str, Any], within: str = "") -> str:
    """The settings that differ, in a few words."""
    found = []
    for name in {**before, **wanted}:
        old, new = before.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            if old != new:
                found.append(_difference(old, new, f"{within}{name}."))
        elif old != new:
            found.append(f"{within}{name} was {old}, now {new}")
    return "; ".join(found)
