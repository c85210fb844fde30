"""Turn SIGINT (Ctrl-C) and SIGTERM into one exception, raised once and at a moment that does no harm.

Libraries such as Ray replace the handlers of the process, and then a signal no longer reaches the caller.  A block of
`guard_signals` or `hold_signals` keeps the handlers.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
IMPATIENT_SECONDS = 5.0
"""A signal that comes this long after the first signal ends the process at once, because the clean-up hangs."""


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop."""


class StopSignals:
    """The signals that this process received; `catch_signals` creates it.

    Attributes:
        first: the first signal, or None if no signal came.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.held = 0
        self._since = 0.0
        self._pid = os.getpid()
        self._error: BaseException | None = None
        self._is_raised = False

    @property
    def exit_code(self) -> int:
        """The exit code of a process that the first signal stopped."""
        return 128 + (self.first or signal.SIGINT)

    def install(self, set_handler: Callable[..., Any] = signal.signal) -> dict[int, Any]:
        """Install the handlers; return signal -> the earlier handler.  A signal that is ignored stays ignored."""
        wanted = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        return {number: set_handler(number, self.receive) for number in wanted}

    def receive(self, number: int, *_: object) -> None:
        """Handle a signal.

        Raises:
            BaseException: the signal is the first one, and no block holds signals.
        """
        if os.getpid() != self._pid:
            # A forked child inherits the handler but not the caller that catches the exception.
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        if self._error is None:
            self.first, self._since = number, time.monotonic()
            self._error = Stopped()
        elif self.first is not None and time.monotonic() - self._since >= IMPATIENT_SECONDS:
            os.write(2, b"stopped at once\n")
            os._exit(self.exit_code)
        if not self.held:
            self.raise_waiting()

    def fail(self, error: Exception) -> None:
        """Raise an exception in the main thread as a signal would; the first signal or exception counts."""
        if self._error is None:
            self._error = error
            signal.pthread_kill(threading.main_thread().ident or 0, SIGNALS[-1])

    def raise_waiting(self) -> None:
        """Raise the exception of a signal that came while a block held signals, once."""
        if self._error is not None and not self._is_raised:
            self._is_raised = True
            raise self._error


_active: StopSignals | None = None


@contextmanager
def catch_signals(*, process_ends: bool) -> Iterator[StopSignals]:
    """Raise Stopped in the block at the first SIGINT or SIGTERM, and ignore the signals that follow.

    In a thread other than the main thread this block does nothing.

    Args:
        process_ends: whether the process ends after the block.  Then, after a signal, the process ignores further
            signals, because they must not disturb its end.
    """
    global _active
    signals = StopSignals()
    if threading.current_thread() is not threading.main_thread() or _active is not None:
        yield signals
        return
    before = signals.install()
    _active = signals
    try:
        yield signals
    finally:
        _active = None
        for number, handler in before.items():
            # Python itself resets other handlers than SIG_IGN at its end.
            stays = signals.first is not None and process_ends
            signal.signal(number, signal.SIG_IGN if stays else handler)


@contextmanager
def guard_signals() -> Iterator[None]:
    """Keep the handlers of `catch_signals`, whatever the code in the block installs."""
    if _active is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    signals, original = _active, signal.signal

    def keep(number: int, handler: Any) -> Any:
        return signals.receive if number in SIGNALS else original(number, handler)

    signal.signal = keep
    try:
        yield
    finally:
        signal.signal = original
        # Code in C may have replaced the handlers without Python's knowledge.
        signals.install(original)


@contextmanager
def hold_signals() -> Iterator[None]:
    """Keep the handlers as `guard_signals` does, and let signals wait.

    The exception of a signal is raised only by `raise_if_stopped`, or at the end of the block.

    Call `raise_if_stopped` again and again in a block that lasts longer than a few seconds.
    """
    signals = _active
    if signals is None:
        yield
        return
    with guard_signals():
        signals.held += 1
        try:
            yield
        finally:
            signals.held -= 1
    if not signals.held:
        signals.raise_waiting()


def call_guarded(function: Callable[[], object], *, seconds: float = 0.005) -> None:
    """Call a function whose C code resets the handlers of the process, and install the handlers again and again.

    Only the main thread can install handlers, so another thread calls the function.  Signals wait until the function
    returns.
    """
    if _active is None or threading.current_thread() is not threading.main_thread():
        function()
        return
    with hold_signals():
        thread = threading.Thread(target=function, daemon=True)
        thread.start()
        while thread.is_alive():
            _active.install()
            thread.join(seconds)


def raise_if_stopped() -> None:
    """Raise the exception of a signal that a block of `hold_signals` holds."""
    if _active is not None:
        _active.raise_waiting()


def stop_with(error: Exception) -> bool:
    """Raise an exception in the main thread as a signal would; return whether the main thread catches signals.

    Any thread may call this function.
    """
    if _active is None:
        return False
    _active.fail(error)
    return True
