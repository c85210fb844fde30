"""One live line of an iterative method: iterations, the largest change, and when it will be over."""

from __future__ import annotations

import math
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

PLAIN_LINE_SECONDS = 15.0


class IterationProgress:
    """A live line in a terminal, else a plain line now and then, and one at the end.

    Args:
        console: where to.
        max_iter: iterations at most.
        tol: the largest change at which the method stops.
    """

    def __init__(self, console: Console, max_iter: int, tol: float) -> None:
        self._console, self._max_iter, self._tol = console, max_iter, tol
        self._phase = "starting"
        self._changes: list[float] = []
        self._start = self._first_iteration = time.monotonic()
        self._printed = -math.inf
        self._live = Live(get_renderable=lambda: Text(self.text()), console=console, transient=True)

    def __enter__(self) -> IterationProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        self._console.print(self.text(), highlight=False)

    def phase(self, what: str) -> None:
        """Say what is done now, until iterations begin."""
        self._phase = what
        self._first_iteration = time.monotonic()
        self._plain_line()

    def add(self, moved: float) -> None:
        """Count an iteration in which no posterior probability moved by more than this."""
        self._phase = ""
        self._changes.append(moved)
        self._plain_line()

    def seconds_left(self) -> float | None:
        """Estimated seconds to the tolerance, as if the change went on to fall at the rate of late; None if unknown."""
        n_done = len(self._changes)
        if n_done < 2:
            return None
        n_left = self._max_iter - n_done
        last, earlier = self._changes[-1], self._changes[-min(n_done, 6)]
        if 0 < last < earlier and self._tol > 0:
            rate = math.log(earlier / last) / (min(n_done, 6) - 1)
            n_left = min(n_left, math.ceil(max(math.log(last / self._tol), 0) / rate))
        return n_left * (time.monotonic() - self._first_iteration) / n_done

    def text(self) -> str:
        """The line."""
        elapsed = time.monotonic() - self._start
        if self._phase:
            return f"{self._phase} · {elapsed:.0f} s elapsed"
        line = f"iteration {len(self._changes)} · largest change {self._changes[-1]:.1e} · {elapsed:.0f} s elapsed"
        left = self.seconds_left()
        return line if left is None or self._changes[-1] <= self._tol else f"{line} · at most {left:.0f} s left"

    def _plain_line(self) -> None:
        now = time.monotonic()
        if not self._console.is_terminal and now - self._printed >= PLAIN_LINE_SECONDS:
            self._printed = now
            self._console.print(self.text(), highlight=False)
