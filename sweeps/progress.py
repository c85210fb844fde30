"""One live line: cells done, running, failed, and when it will be over."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_LINE_SECONDS, IDLE_LINE_SECONDS = 15.0, 300.0


class Progress:
    """Counts of a run; a live line in a terminal, else a plain line now and then.

    Args:
        console: where to.
        n_cells: cells of the grid.
        n_done: cells that were there before the run.
        seconds: estimated seconds of all cells to compute, in one process.
        n_slots: processes that compute at a time.
    """

    def __init__(self, console: Console, *, n_cells: int, n_done: int, seconds: float, n_slots: int) -> None:
        self.n_ok = self.n_failed = self.n_running = 0
        self._console = console
        self._n_cells, self._n_done = n_cells, n_done
        self._left = seconds
        self._estimated = self._actual = 0.0
        self._n_slots = max(n_slots, 1)
        self._start = self._updated = time.monotonic()
        self._printed = -PLAIN_LINE_SECONDS
        self._changed = True
        self._live = Live(get_renderable=self._line, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        self._console.print(self.text(), highlight=False)

    def add(self, *, n_ok: int, n_failed: int, estimated: float, actual: float) -> None:
        """Count cells that ended, with the seconds they were thought to take and took."""
        self.n_ok += n_ok
        self.n_failed += n_failed
        self._left = max(0.0, self._left - estimated)
        self._estimated += estimated
        self._actual += actual
        self._updated = time.monotonic()
        self._changed = True
        self._plain_line()

    def set_running(self, n_running: int) -> None:
        """Say how many trials run now; to be called often, also while nothing ends."""
        self._changed |= n_running != self.n_running
        self.n_running = n_running
        self._plain_line()

    def seconds_left(self) -> float:
        """Estimated wall seconds until the end: what is left, corrected by how long cells really took."""
        # Ten seconds of belief in the estimates keep the first cells from swinging the figure.
        correction = (self._actual + 10) / (self._estimated + 10)
        seconds = self._left * correction / self._n_slots
        # Before the first result processes are still starting, and a cell that takes long must not make the ETA zero.
        since = time.monotonic() - self._updated if self._actual else 0.0
        return max(seconds - since, seconds / 10)

    def text(self) -> str:
        """The line without its bar."""
        done = self._n_done + self.n_ok
        parts = [f"{done}/{self._n_cells} cells", f"{self.n_running} running", f"{self.n_failed} failed"]
        parts.append(f"{_clock(time.monotonic() - self._start)} elapsed")
        if done + self.n_failed < self._n_cells:
            parts.append(f"ETA {_clock(self.seconds_left())}")
        return " · ".join(parts)

    def _line(self) -> Table:
        line = Table.grid(padding=(0, 1))
        line.add_row(
            ProgressBar(total=self._n_cells, completed=self._n_done + self.n_ok + self.n_failed, width=30),
            Text(self.text(), style="red" if self.n_failed else ""),
        )
        return line

    def _plain_line(self) -> None:
        now = time.monotonic()
        wait = PLAIN_LINE_SECONDS if self._changed else IDLE_LINE_SECONDS
        if not self._console.is_terminal and now - self._printed >= wait:
            self._printed, self._changed = now, False
            self._console.print(self.text(), highlight=False)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
