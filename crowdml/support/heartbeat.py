"""Heartbeat: call a function every few seconds while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def heartbeat(beat: Callable[[], None], *, seconds: float, name: str) -> Iterator[None]:
    """Call `beat` from a thread of its own, every `seconds`, until the block ends.

    Args:
        beat: must not raise; an exception ends the heartbeat.
        seconds: between two calls; the first call comes after one interval.
        name: of the thread, for debuggers.
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
