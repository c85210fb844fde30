"""Signals become one exception, whatever a library does to the handlers."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from crowdml.support.stop_signals import (
    SIGNALS,
    Stopped,
    call_guarded,
    catch_signals,
    guard_signals,
    hold_signals,
    raise_if_stopped,
    stop_with,
)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_raises_and_others_are_ignored(number: signal.Signals, code: int) -> None:
    with catch_signals(process_ends=True) as signals:
        with pytest.raises(Stopped):
            signal.raise_signal(number)
        for other in (number, *SIGNALS):
            signal.raise_signal(other)
        assert signals.exit_code == code


def test_after_the_block_signals_are_ignored_if_the_process_ends() -> None:
    before = signal.getsignal(signal.SIGTERM)
    for process_ends, after in ((False, before), (True, signal.SIG_IGN)):
        with catch_signals(process_ends=process_ends), pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == after


def test_a_library_cannot_take_the_handlers() -> None:
    with catch_signals(process_ends=True), guard_signals():
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)


def test_held_signals_are_raised_where_the_block_asks_or_ends() -> None:
    steps = []
    with catch_signals(process_ends=True):
        with hold_signals():
            signal.raise_signal(signal.SIGINT)
            steps.append("after the signal")
            with pytest.raises(Stopped):
                raise_if_stopped()
        assert steps == ["after the signal"]
        raise_if_stopped()  # an exception is raised once


def test_a_held_signal_is_raised_at_the_end_of_the_block() -> None:
    with catch_signals(process_ends=True), pytest.raises(Stopped), hold_signals():
        signal.raise_signal(signal.SIGTERM)


def test_another_thread_stops_the_main_thread_with_an_error() -> None:
    with catch_signals(process_ends=True) as signals:
        threading.Timer(0.1, stop_with, (ValueError("gone"),)).start()
        with pytest.raises(ValueError, match="gone"):
            time.sleep(5)
    assert signals.first is None
    assert not stop_with(ValueError("nobody catches signals"))


def test_a_function_that_resets_the_handlers_does_not_end_the_process() -> None:
    ended = []
    with catch_signals(process_ends=True), pytest.raises(Stopped):
        call_guarded(lambda: (time.sleep(0.1), signal.raise_signal(signal.SIGTERM), ended.append(True)))
    assert ended == [True]


def test_without_a_caller_that_catches_signals_nothing_changes() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with hold_signals(), guard_signals():
        assert [signal.getsignal(number) for number in SIGNALS] == before
        raise_if_stopped()
