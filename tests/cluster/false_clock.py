"""The main job on a machine whose clock jumps; a script."""

from __future__ import annotations

import sys
import time
from datetime import datetime, tzinfo

import crowdml.cli.sweeping.run_sweep  # noqa: F401  its modules get the false clock
from crowdml.cli.main import main

DAY = 86_400.0
JUMP_AFTER_SECONDS = 4.0
_real, _began = time.time, time.monotonic()


def _false() -> float:
    """A day behind, and from the jump on a day ahead."""
    return _real() + (DAY if time.monotonic() - _began > JUMP_AFTER_SECONDS else -DAY)


class _FalseDateTime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.fromtimestamp(_false(), tz)


if __name__ == "__main__":
    for name, module in tuple(sys.modules.items()):
        if name.startswith("sweeps.") and getattr(module, "datetime", None) is datetime:
            module.datetime = _FalseDateTime  # pyright: ignore
    time.time, time.time_ns = _false, lambda: int(_false() * 1e9)
    sys.exit(main(["sweep", *sys.argv[1:]]))
