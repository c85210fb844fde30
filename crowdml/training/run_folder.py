"""RunFolder: the folder of one training.

settings.json           what is trained, on which data; a run with other settings is refused
skipped.json            images that cannot be read, and other files of a folder of images, with the reasons
checkpoints/            learning curves, and the state from which an interrupted run continues; emptied at the end
consensus, workers, confusion, predictions, test_predictions, curves (.csv or .parquet)
weights.pt, network.pt2, model.json     see `crowdml.training.trained_network`
failure.txt             why a worker process failed, if one did
report.json             accuracy, costs, notes; written last, so that its presence means that the run is done

Only files with these names are ever replaced or deleted, and only in a folder whose settings.json a training wrote.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from crowdml.learning.curves import KeptCurves, Point
from crowdml.support.whole_file import whole_file
from crowdml.training.items import Items
from crowdml.training.trained_network import DESCRIPTION, PROGRAM, WEIGHTS

SETTINGS, SKIPPED, REPORT, CHECKPOINTS = "settings.json", "skipped.json", "report.json", "checkpoints"
FAILURE = "failure.txt"
_CURVES, _SHARE = "curves.jsonl", "share.json"
_SECONDS_BETWEEN_SHARES = 1.0
_TABLES = ("predictions", "test_predictions", "consensus", "workers", "confusion", "curves")
_RESULTS = (
    *(f"{table}.{suffix}" for table in _TABLES for suffix in ("csv", "parquet")), WEIGHTS, PROGRAM, DESCRIPTION, FAILURE
)  # fmt: skip
_OWN_FILES = (SETTINGS, REPORT, SKIPPED, *_RESULTS)
# The last pattern is for `RunFolder.ray_state`.
_OWN_CHECKPOINTS = ("training-*.pt", _CURVES, _SHARE, ".training-*.part", f".{_SHARE}.*.part", "ray-train-*")


class State(Enum):
    """How much of the wanted training a folder holds."""

    FRESH = "nothing"
    STARTED = "a part"
    DONE = "all"


class OtherRunError(ValueError):
    """The folder holds another training, or other files."""


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
        before = self._earlier_settings(wanted)
        if before is None:
            self._refuse_other_files(overwrite)
        elif not overwrite:
            if before == wanted:
                return State.DONE if self._is_done() else State.STARTED
            if self._is_done() or any(self.checkpoints.glob("training-*.pt")):
                raise OtherRunError(
                    f"{self.path} holds a run with other settings ({_difference(before, wanted)}); "
                    "choose another --out, or add --overwrite"
                )
        if before is not None:
            # The settings stay until they are replaced, so that an interruption leaves a run folder.
            self._clear_checkpoints()
            for name in (REPORT, SKIPPED, *_RESULTS):
                (self.path / name).unlink(missing_ok=True)
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self.path / SETTINGS, wanted)
        return State.FRESH

    def settings(self) -> dict[str, Any]:
        """Return the settings that `begin` wrote."""
        return json.loads((self.path / SETTINGS).read_text())

    def keep_skipped(self, items: Sequence[Items]) -> None:
        """Write which files are left out, if images were checked or files are left out."""
        checks = [
            {
                "source": part.source,
                "checked": part.checked,
                "skipped": dict(part.skipped),
                "left_out": dict(part.left_out),
            }
            for part in items
            if part.checked or part.skipped or part.left_out
        ]
        if checks:
            _write(self.path / SKIPPED, {"images": checks})

    def checked(self) -> dict[str, dict[Path, str]]:
        """Return the checks of images that `keep_skipped` wrote, in the form that `read_data` takes."""
        found: dict[str, dict[Path, str]] = {}
        checks = _read(self.path / SKIPPED).get("images")
        for check in checks if isinstance(checks, list) else []:
            match check:
                case {"checked": str(key), "skipped": dict(skipped)} if key:
                    found[key] = {Path(file): str(reason) for file, reason in skipped.items()}
        return found

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
        match _read(self.checkpoints / _SHARE):
            case {"training": int(training), "share": float(share)} if 0 <= share <= 1:
                return training, share
        return None

    @contextmanager
    def ray_state(self) -> Iterator[Path]:
        """Yield a new folder for what Ray Train keeps during a run, and delete this folder afterwards."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        place = tempfile.mkdtemp(prefix="ray-train-", dir=self.checkpoints)
        try:
            yield Path(place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write the report, which marks the run as done, and delete the checkpoints."""
        _write(self.path / REPORT, report)
        self._clear_checkpoints()
        with suppress(OSError):  # the user may keep files there
            self.checkpoints.rmdir()

    @property
    def _kept_curves(self) -> KeptCurves:
        return KeptCurves(self.checkpoints / _CURVES)

    def _earlier_settings(self, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the settings of the run in this folder; None if no training wrote the folder's settings.json."""
        before = _read(self.path / SETTINGS)
        return before if before.keys() == wanted.keys() else None

    def _refuse_other_files(self, overwrite: bool) -> None:
        """Raise OtherRunError if a run in this folder, which holds no run so far, could damage a file of the user."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise OtherRunError(f"{self.path} is a file; choose another --out")
        taken = [name for name in (*_OWN_FILES, CHECKPOINTS) if (self.path / name).exists()]
        if taken:
            raise OtherRunError(
                f"{self.path} is neither an empty folder nor the folder of a training, and its file {taken[0]} would "
                "be replaced; choose another --out, or move this file"
            )
        if not overwrite and any(not place.name.startswith(".") for place in self.path.iterdir()):
            raise OtherRunError(
                f"{self.path} is neither an empty folder nor the folder of a training; "
                "choose another --out, or add --overwrite, which leaves these files alone"
            )

    def _is_done(self) -> bool:
        return bool(_read(self.path / REPORT))

    def _clear_checkpoints(self) -> None:
        """Delete what trainings wrote into the folder of checkpoints."""
        with suppress(OSError):
            for place in self._own_checkpoints():
                if place.is_dir():
                    shutil.rmtree(place, ignore_errors=True)
                else:
                    place.unlink(missing_ok=True)

    def _own_checkpoints(self) -> Iterator[Path]:
        for pattern in _OWN_CHECKPOINTS:
            yield from list(self.checkpoints.glob(pattern))


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; an empty object if the file is missing, is damaged, or holds anything else."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
    return {}


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
