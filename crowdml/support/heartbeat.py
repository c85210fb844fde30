"""Call a function every few seconds while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def heartbeat(beat: Callable[[], None], *, seconds: float, name: str) -> Iterator[None]:
    """Call `beat` in a separate thread every `seconds`, until the block ends.

    Args:
        beat: the function; it must not raise, because an exception ends the heartbeat.
        seconds: time between two calls; the first call comes after one interval.
        name: name of the thread, for debuggers.
    """
    over = threading.Event()

    def keep_beating() -> None:
        while not over.wait(seconds):
            beat()

    thread = threading.Thread(target=keep_beating, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
