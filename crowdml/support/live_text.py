"""LiveText: the progress display of all commands."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text


class LiveText:
    """Show a text that changes.  A terminal redraws the text in place; other outputs get a plain line now and then.

    Use as a context manager.  Call `update` whenever something may have changed.

    Args:
        console: where to show the text.
        line: returns the text as one line.
        screen: returns the content for a terminal; the default is the line.
        plain_seconds: seconds between two plain lines.
        last_line: print the line again when the block ends.
        clock: returns seconds that never decrease.
    """

    def __init__(
        self,
        console: Console,
        line: Callable[[], str],
        *,
        screen: Callable[[], RenderableType] | None = None,
        plain_seconds: float = 15.0,
        last_line: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._line, self._clock = console, line, clock
        self._plain_seconds, self._last_line = plain_seconds, last_line
        self._printed = -float("inf")
        self._live = Live(
            get_renderable=screen or (lambda: Text(line())), console=console, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> LiveText:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        if self._last_line:
            self._print()

    def update(self) -> None:
        """Print a plain line if `plain_seconds` are over.  On a terminal do nothing, because it redraws itself."""
        now = self._clock()
        if not self._console.is_terminal and now - self._printed >= self._plain_seconds:
            self._printed = now
            self._print()

    def _print(self) -> None:
        self._console.print(Text(self._line()), soft_wrap=True)


def clock_time(seconds: float) -> str:
    """Return a duration as h:mm:ss, or mm:ss below an hour."""
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")
