"""`heartbeat`: a function is called while a block runs, and no longer."""

from __future__ import annotations

import threading

from crowdml.support.heartbeat import heartbeat


def test_the_function_is_called_until_the_block_ends() -> None:
    calls: list[str] = []
    twice = threading.Event()

    def beat() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 2:
            twice.set()

    with heartbeat(beat, seconds=0.001, name="test-beat"):
        assert twice.wait(10)
    assert set(calls) == {"test-beat"}
    assert all(thread.name != "test-beat" for thread in threading.enumerate())


def test_a_block_shorter_than_the_interval_gets_no_call() -> None:
    calls: list[int] = []
    with heartbeat(lambda: calls.append(1), seconds=600, name="test-beat"):
        pass
    assert not calls
