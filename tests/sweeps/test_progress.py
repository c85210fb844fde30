from __future__ import annotations

import io

import pytest
from rich.console import Console

from sweeps import progress as progress_module
from sweeps.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress_module, "time", made)
    return made


def make(clock: Clock, output: io.StringIO | None = None) -> Progress:
    console = Console(file=output or io.StringIO(), width=120)
    return Progress(console, n_cells=110, n_done=10, seconds=1000.0, n_slots=2)


def test_the_eta_follows_how_long_cells_really_take(clock: Clock) -> None:
    progress = make(clock)
    assert progress.seconds_left() == pytest.approx(500)
    clock.now = 1000.0
    progress.add(n_ok=50, n_failed=0, estimated=500.0, actual=2000.0)  # four times slower than thought
    assert progress.seconds_left() == pytest.approx(500 * (2010 / 510) / 2)
    clock.now += 100
    assert progress.seconds_left() == pytest.approx(500 * (2010 / 510) / 2 - 100)


def test_the_line_counts_cells_done_before(clock: Clock) -> None:
    progress = make(clock)
    progress.n_running = 2
    progress.add(n_ok=3, n_failed=1, estimated=4.0, actual=4.0)
    assert progress.text() == "13/110 cells · 2 running · 1 failed · 0:00 elapsed · ETA 8:18"
    progress.add(n_ok=96, n_failed=0, estimated=996.0, actual=996.0)
    assert progress.text().startswith("109/110 cells")
    assert "ETA" not in progress.text()


def test_without_a_terminal_there_is_a_plain_line_now_and_then(clock: Clock) -> None:
    output = io.StringIO()
    with make(clock, output) as progress:
        for second in range(40):
            clock.now = float(second)
            progress.add(n_ok=1, n_failed=0, estimated=1.0, actual=1.0)
    lines = output.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["11/110", "26/110", "41/110", "50/110"]


def test_long_cells_get_a_line_too(clock: Clock) -> None:
    output = io.StringIO()
    with make(clock, output) as progress:
        for second in range(0, 1000, 5):
            clock.now = float(second)
            progress.set_running(2)
    lines = output.getvalue().splitlines()
    assert [line.split("·")[3].split()[0] for line in lines] == ["0:00", "5:00", "10:00", "15:00", "16:35"]
    assert all("2 running" in line for line in lines)


def test_the_eta_is_never_zero_while_there_is_work(clock: Clock) -> None:
    progress = make(clock)
    clock.now = 100.0  # nothing has ended yet: processes may still be starting
    assert progress.seconds_left() == pytest.approx(500)
    progress.add(n_ok=50, n_failed=0, estimated=500.0, actual=500.0)
    clock.now = 100_000.0  # a cell takes much longer than thought
    assert progress.seconds_left() == pytest.approx(25)
