"""RunFolder: the folder of one training.

settings.json           what is trained, on which data; a run with other settings is refused
skipped.json            images that cannot be read, with the reasons
checkpoints/            learning curves, and the state from which an interrupted run continues; deleted at the end
consensus, workers, confusion, predictions, test_predictions, curves (.csv or .parquet)
weights.pt, network.pt2, model.json     see `crowdml.training.trained_network`
failure.txt             why a worker process failed, if one did
report.json             accuracy, costs, notes; written last, so that its presence means that the run is done
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from crowdml.learning.curves import KeptCurves, Point
from crowdml.support.whole_file import whole_file
from crowdml.training.items import Items

SETTINGS, SKIPPED, REPORT, CHECKPOINTS = "settings.json", "skipped.json", "report.json", "checkpoints"
_CURVES, _SHARE = "curves.jsonl", "share.json"
_SECONDS_BETWEEN_SHARES = 1.0


class State(Enum):
    """How much of the wanted training a folder holds."""

    FRESH = "nothing"
    STARTED = "a part"
    DONE = "all"


class OtherRunError(ValueError):
    """The folder holds another training, or other files."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; choose another --out, or add --overwrite")


@dataclass
class RunFolder:
    """The folder at `path` of one training, which begins, continues or refuses a run there."""

    path: Path
    _share_due: float = field(default=0.0, init=False, repr=False)

    @property
    def checkpoints(self) -> Path:
        """The folder in which the trainings keep their state until the run is done."""
        return self.path / CHECKPOINTS

    def begin(self, settings: Mapping[str, Any], *, overwrite: bool) -> State:
        """Create the folder, or continue the run that it holds.

        A run without checkpoints and report, such as a refused run, may be replaced by a run with other settings.

        Args:
            settings: everything on which the result depends, as values for JSON.
            overwrite: delete the files of an earlier run.

        Raises:
            OtherRunError: the folder holds other files, or a run with other settings; the message says which differ.
            OSError: the folder cannot be created.
        """
        wanted = json.loads(json.dumps(settings))
        there = self.path / SETTINGS
        if overwrite:
            # Delete the settings last, so that after an interruption the folder still counts as a run folder.
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            for name in (*self._written(), REPORT, SKIPPED, SETTINGS):
                (self.path / name).unlink(missing_ok=True)
        elif not there.is_file() and self._holds_other_files():
            raise OtherRunError(f"{self.path} is neither an empty folder nor the folder of a training")
        before = _read(there) if there.is_file() else None
        if before is None or (before != wanted and not self._holds_work()):
            self.path.mkdir(parents=True, exist_ok=True)
            _write(there, wanted)
            return State.FRESH
        if before != wanted:
            raise OtherRunError(f"{self.path} holds a run with other settings ({_difference(before, wanted)})")
        return State.DONE if (self.path / REPORT).is_file() else State.STARTED

    def settings(self) -> dict[str, Any]:
        """Return the settings that `begin` wrote."""
        return _read(self.path / SETTINGS)

    def keep_skipped(self, items: Sequence[Items]) -> None:
        """Write which images cannot be read, if images were checked or skipped."""
        checks = [
            {"source": part.source, "checked": part.checked, "skipped": dict(part.skipped)}
            for part in items
            if part.checked or part.skipped
        ]
        if checks:
            _write(self.path / SKIPPED, {"images": checks})

    def checked(self) -> dict[str, dict[Path, str]]:
        """Return the checks of images that `keep_skipped` wrote, in the form that `read_data` takes."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            checks = json.loads((self.path / SKIPPED).read_text())["images"]
            return {
                check["checked"]: {Path(file): reason for file, reason in check["skipped"].items()}
                for check in checks
                if check["checked"]
            }
        return {}

    def keep_point(self, step: int, metric: str, value: float) -> None:
        """Append a point to the file of learning curves."""
        self._kept_curves.keep(step, metric, value)

    def curves(self) -> list[Point]:
        """Return the points in order; a point that was computed again after an interruption has its last value."""
        return self._kept_curves.points()

    def keep_share(self, training: int, share: float) -> None:
        """Write the finished share of the running training, at most once per second."""
        now = time.monotonic()
        if now >= self._share_due:
            self._share_due = now + _SECONDS_BETWEEN_SHARES
            with suppress(OSError):
                self.checkpoints.mkdir(parents=True, exist_ok=True)
                _write(self.checkpoints / _SHARE, {"training": training, "share": share})

    def share(self) -> tuple[int, float] | None:
        """Return the number of the running training, from 0, and its finished share; None before it begins."""
        with suppress(OSError, ValueError, KeyError):
            kept = json.loads((self.checkpoints / _SHARE).read_text())
            return kept["training"], kept["share"]
        return None

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write the report, which marks the run as done, and delete the checkpoints."""
        _write(self.path / REPORT, report)
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    @property
    def _kept_curves(self) -> KeptCurves:
        return KeptCurves(self.checkpoints / _CURVES)

    def _written(self) -> list[str]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return [Path(name).name for name in json.loads((self.path / REPORT).read_text())["files"]]
        return []

    def _holds_work(self) -> bool:
        return (self.path / REPORT).is_file() or any(self.checkpoints.glob("*.pt"))

    def _holds_other_files(self) -> bool:
        return self.path.exists() and (
            not self.path.is_dir() or any(not place.name.startswith(".") for place in self.path.iterdir())
        )


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise OtherRunError(f"{path} is not of a training ({error})") from error


def _difference(before: Mapping[str, Any], wanted: Mapping[str, Any], within: str = "") -> str:
    """Return the settings that differ, with both values."""
    found = []
    for name in {**before, **wanted}:
        old, new = before.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            if old != new:
                found.append(_difference(old, new, f"{within}{name}."))
        elif old != new:
            found.append(f"{within}{name} was {old}, now {new}")
    return "; ".join(found)
