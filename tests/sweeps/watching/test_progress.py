from __future__ import annotations

import io

from rich.console import Console

from sweeps.watching.progress import Progress, Sink
from sweeps.watching.snapshot import Snapshot
from sweeps.watching.tally import Outcome, Tally
from tests.cells import cell
from tests.sweeps.watching.test_tally import NO_ROWS, Clock

CELLS = [cell(seed=seed) for seed in range(100)]


def make(clock: Clock, output: io.StringIO, *sinks: Sink, terminal: bool = False) -> Progress:
    console = Console(file=output, width=120, height=30, force_terminal=terminal)
    tally = Tally(CELLS, NO_ROWS, CELLS, lambda _: 10.0, 2, clock=clock)
    return Progress(console, tally, sinks, "a run", clock=clock)


def end(progress: Progress, *numbers: int, ok: bool = True) -> None:
    progress.record([Outcome(CELLS[number].id, ok, 10.0, 0.5 if ok else None, None) for number in numbers])


class Kept(list[Snapshot]):
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    def __call__(self, snapshot: Snapshot) -> None:
        self.append(snapshot)

    def close(self) -> None:
        self.closed += 1


def test_without_a_terminal_there_is_a_plain_line_now_and_then() -> None:
    clock, output = Clock(), io.StringIO()
    with make(clock, output) as progress:
        for second in range(40):
            clock.now = float(second)
            end(progress, second)
    lines = output.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["1/100", "16/100", "31/100", "40/100"]
    assert lines[1].startswith("16/100 cells · 0 running · 0 failed · 00:15 elapsed · ETA ")


def test_long_cells_get_a_line_too() -> None:
    clock, output = Clock(), io.StringIO()
    with make(clock, output) as progress:
        for second in range(0, 1000, 5):
            clock.now = float(second)
            progress.set_running(running=2)
    lines = output.getvalue().splitlines()
    assert [line.split("·")[3].split()[0] for line in lines] == ["00:00", "05:00", "10:00", "15:00", "16:35"]
    assert all("2 running" in line for line in lines)


def test_the_last_line_has_no_eta() -> None:
    clock, output = Clock(), io.StringIO()
    with make(clock, output) as progress:
        end(progress, *range(99))
        end(progress, 99, ok=False)
    assert output.getvalue().splitlines()[-1] == "99/100 cells · 0 running · 1 failed · 00:00 elapsed"


def test_sinks_get_a_snapshot_every_five_seconds_and_at_the_end() -> None:
    clock, kept = Clock(), Kept()
    with make(clock, io.StringIO(), kept) as progress:
        for second in range(12):
            clock.now = float(second)
            end(progress, second)
    assert [snapshot.n_ok for snapshot in kept] == [1, 6, 11, 12]
    assert kept.closed == 1


def test_a_sink_that_raises_is_reported_once_and_left_out() -> None:
    clock, output, kept = Clock(), io.StringIO(), Kept()
    calls = 0

    def broken(snapshot: Snapshot) -> None:
        nonlocal calls
        calls += 1
        raise OSError("disk full [red]")

    with make(clock, output, broken, kept) as progress:
        for second in range(30):
            clock.now = float(second)
            end(progress, second)
    assert calls == 1
    assert kept[-1].n_ok == 30
    assert output.getvalue().count("disk full [red]") == 1
    assert "OSError" in output.getvalue()


def test_a_sink_that_cannot_be_closed_does_not_end_the_run() -> None:
    class Stuck(Kept):
        def close(self) -> None:
            raise OSError("cannot close")

    output, kept = io.StringIO(), Kept()
    with make(Clock(), output, Stuck(), kept):
        pass
    assert "Stuck: OSError: cannot close" in output.getvalue()
    assert kept.closed == 1


def test_in_a_terminal_the_screen_is_drawn_and_a_line_stays() -> None:
    clock, output = Clock(), io.StringIO()
    with make(clock, output, terminal=True) as progress:
        end(progress, *range(7))
        progress.set_running(running=2, cpus=4, cpus_used=2)
    assert "a run" in output.getvalue()
    assert "CPU" in output.getvalue()
    assert output.getvalue().rpartition("\x1b[2K")[2].startswith("7/100 cells · 2 running · 0 failed")
