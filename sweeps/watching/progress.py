"""Show a run while it lasts: a live screen in a terminal, plain lines elsewhere, and sinks such as TensorBoard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.text import Text

from crowdml.support.live_text import LiveText
from sweeps.watching.live_view import plain_line, view
from sweeps.watching.snapshot import Snapshot
from sweeps.watching.tally import Outcome, Tally

IDLE_LINE_SECONDS = 300.0
"""Seconds between two plain lines while nothing changes."""
SINK_SECONDS = 5.0
_LOOK_SECONDS = 1.0

Sink = Callable[[Snapshot], None]
"""Sends a snapshot to another place.  A sink may have a method `close()`, which is called at the end."""


class Progress:
    """Shows a tally while a run lasts, and feeds the sinks.

    A sink that raises is reported once and then left out, so that no sink can end the run.

    Args:
        tally: what to show; all changes to the tally must come through this object.
        sinks: called about every SINK_SECONDS, and at the end.
        clock: returns seconds that never decrease.
    """

    def __init__(
        self,
        console: Console,
        tally: Tally,
        sinks: Sequence[Sink] = (),
        title: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._tally, self._title, self._clock = console, tally, title, clock
        self._sinks = list(sinks)
        # Another thread draws the live screen.
        self._lock = threading.Lock()
        self._looked = self._printed = self._fed = -float("inf")
        self._shown = (-1, -1)
        self._live = LiveText(console, self._line, screen=self._screen, clock=clock)

    def __enter__(self) -> Progress:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, value, trace)
        self._feed(self.snapshot())
        for sink in self._sinks:
            self._try(sink, getattr(sink, "close", lambda: None))

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Count cells that ended and have a row; see `Tally.record`."""
        with self._lock:
            self._tally.record(outcomes)
        self._look()

    def set_running(self, **machines: Any) -> None:
        """Record what runs now; see `Tally.set_running`."""
        with self._lock:
            self._tally.set_running(**machines)
        self._look()

    def snapshot(self) -> Snapshot:
        """Return the state now."""
        with self._lock:
            return self._tally.snapshot()

    def _look(self) -> None:
        """Print a line and feed the sinks if the time for either has come."""
        now = self._clock()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        snapshot = self.snapshot()
        if _changing(snapshot) != self._shown or now - self._printed >= IDLE_LINE_SECONDS:
            self._live.update()
        if now - self._fed >= SINK_SECONDS:
            self._fed = now
            self._feed(snapshot)

    def _feed(self, snapshot: Snapshot) -> None:
        for sink in tuple(self._sinks):
            self._try(sink, lambda sink=sink: sink(snapshot))

    def _try(self, sink: Sink, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self._sinks = [other for other in self._sinks if other is not sink]
            name = getattr(sink, "__qualname__", type(sink).__name__)
            text = f"progress is no longer sent to {name}: {type(error).__name__}: {error}"
            self._console.print(Text(text), soft_wrap=True)

    def _line(self) -> str:
        snapshot = self.snapshot()
        self._printed, self._shown = self._clock(), _changing(snapshot)
        return plain_line(snapshot)

    def _screen(self) -> Any:
        return view(self.snapshot(), title=self._title, width=self._console.width, height=self._console.height - 1)


def _changing(snapshot: Snapshot) -> tuple[int, int]:
    """Return the numbers that must change before another plain line is printed."""
    return snapshot.n_ok + snapshot.n_failed, snapshot.running
