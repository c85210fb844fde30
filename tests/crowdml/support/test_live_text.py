"""LiveText: plain lines where the output is no terminal."""

from __future__ import annotations

import io

from rich.console import Console

from crowdml.support.live_text import LiveText, clock_time


def test_plain_lines_are_printed_at_most_once_per_interval_and_at_the_end() -> None:
    output, now = io.StringIO(), [0.0]
    with LiveText(
        Console(file=output, width=80), lambda: f"at {now[0]:g}", plain_seconds=10, clock=lambda: now[0]
    ) as shown:
        for now[0] in (0.0, 9.0, 10.0, 12.0):
            shown.update()
    assert output.getvalue().split("\n") == ["at 0", "at 10", "at 12", ""]


def test_the_last_line_can_be_left_out() -> None:
    output = io.StringIO()
    with LiveText(Console(file=output), lambda: "line", last_line=False):
        pass
    assert output.getvalue() == ""


def test_durations_have_hours_only_if_needed() -> None:
    assert clock_time(59.6) == "01:00"
    assert clock_time(3600) == "1:00:00"
