"""What a run shows while it lasts: a live screen in a terminal, else a plain line now and then, and sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweeps.watching.live_view import plain_line, view
from sweeps.watching.snapshot import Snapshot
from sweeps.watching.tally import Outcome, Tally

PLAIN_LINE_SECONDS, IDLE_LINE_SECONDS = 15.0, 300.0
SINK_SECONDS = 5.0
_LOOK_SECONDS = 1.0

Sink = Callable[[Snapshot], None]
"""Takes a snapshot some place else.  May have a method `close()`, called at the end."""


class Progress:
    """Draws a tally while a run lasts, and feeds the sinks.

    A sink that raises is reported once and then left out: what looks on never ends a run.

    Args:
        console: where to.
        tally: what is drawn; all changes to it must come through here.
        sinks: called about every SINK_SECONDS, and at the end.
        title: of the run.
        clock: gives seconds that only ever grow.
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
        # The live screen is drawn by a thread of its own.
        self._lock = threading.Lock()
        self._looked = self._printed = self._fed = -float("inf")
        self._shown = (-1, -1)
        self._live = Live(get_renderable=self._screen, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        snapshot = self.snapshot()
        self._print(plain_line(snapshot))
        self._feed(snapshot)
        for sink in self._sinks:
            close = getattr(sink, "close", None)
            if close is not None:
                self._try(sink, close)

    def record(self, outcomes: Sequence[Outcome], *, errors: Mapping[str, str] | None = None) -> None:
        """Count cells that ended and are written; see `Tally.record`."""
        with self._lock:
            self._tally.record(outcomes, errors=errors or {})
        self._look()

    def set_running(self, **machines: Any) -> None:
        """Say what runs now; see `Tally.set_running`.  To be called often, also while nothing ends."""
        with self._lock:
            self._tally.set_running(**machines)
        self._look()

    def take_over(self, cells: Sequence[Any]) -> None:
        """Cells that another run was to compute are this one's now; see `Tally.take_over`."""
        with self._lock:
            self._tally.take_over(cells)

    def snapshot(self) -> Snapshot:
        """The state now."""
        with self._lock:
            return self._tally.snapshot()

    def _look(self) -> None:
        """Print and feed what is due."""
        now = self._clock()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        snapshot = self.snapshot()
        if not self._console.is_terminal:
            shown = (snapshot.n_ok + snapshot.n_failed, snapshot.running)
            if now - self._printed >= (IDLE_LINE_SECONDS if shown == self._shown else PLAIN_LINE_SECONDS):
                self._printed, self._shown = now, shown
                self._print(plain_line(snapshot))
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
            self._print(f"progress is no longer sent to {name}: {type(error).__name__}: {error}")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _screen(self) -> Any:
        return view(self.snapshot(), title=self._title, width=self._console.width, height=self._console.height - 1)
