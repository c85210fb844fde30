from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from sweeps.watching.live_view import WIDE, body, plain_line, view
from sweeps.watching.snapshot import Best, Count, LastError, Snapshot

AXES = {
    "method": {name: Count(done=5, failed=0, total=10) for name in ("mv", "em", "glad", "wawa", "ibcc")},
    "n_workers": {"3": Count(done=25, failed=0, total=25), "5": Count(done=0, failed=2, total=25)},
}
BEST = tuple(
    Best(panel=f"flip {n} workers", method="em", measure="aggregation_error", value=0.125, n=3, n_methods=5)
    for n in range(20)
)
ERRORS = tuple(LastError(cell_id=f"{n:016x}", method="em", line=f"ValueError: [red]{n}[/]") for n in range(5))
FULL = Snapshot(
    n_cells=50, n_done_before=5, n_ok=20, n_failed=2, n_left=23, elapsed=3700.0, eta_seconds=75.0,
    cells_per_minute=123.4, seconds_in_cells=3.0, slots=2, share_in_cells=0.875, overhead_seconds_a_cell=0.01,
    running=2, pending=7, cpus_used=1.5, cpus=4.0, gpus_used=1.0, gpus=2.0, by_axis=AXES, best=BEST, n_panels=20,
    last_errors=ERRORS,
)  # fmt: skip


def drawn(what: RenderableType, width: int) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=width).print(what)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_the_screen_has_everything_that_fits() -> None:
    lines = drawn(view(FULL, title="run 7", width=80, height=24), 80)
    text = "\n".join(lines)
    assert lines[0] == "run 7"
    assert "25/50 cells  50.0 %  ETA 01:15  1:01:40 elapsed" in lines[1]
    assert lines[2].startswith("123 cells/min · 2 failed · 2 running, 7 pending · CPU 1.5/4 · GPU 1/2 · 88 %")
    for method in AXES["method"]:
        assert re.search(rf"\b{method} +━+╸? +5/10", text), method
    assert re.search(r"n_workers +3 +━+ +25/25 +5 +0/25 -2", text)
    assert re.search(r"flip 0 workers +em +12.50 % error, n=3", text)
    assert text.endswith("  em 0000000000000002: ValueError: [red]2[/]")


@given(
    width=st.integers(30, 200),
    height=st.integers(12, 60),
    sizes=st.lists(st.integers(2, 40), max_size=8),
    n_best=st.integers(0, 40),
    n_errors=st.integers(0, 5),
)
def test_it_never_leaves_the_screen_and_counts_what_it_drops(
    width: int, height: int, sizes: list[int], n_best: int, n_errors: int
) -> None:
    axes = {
        f"axis{a}": {f"v{a}x{v}": Count(done=v, failed=0, total=40) for v in range(size)}
        for a, size in enumerate(sizes)
    }
    best = tuple(
        Best(panel=f"p{n}", method="mv", measure="test_accuracy", value=0.5, n=1, n_methods=2) for n in range(n_best)
    )
    snapshot = Snapshot(n_cells=40, by_axis=axes, best=best, n_panels=n_best, last_errors=ERRORS[:n_errors])
    lines = drawn(view(snapshot, width=width, height=height), width)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    if 60 <= width < WIDE:
        text = "\n".join(lines)
        for a, size in enumerate(sizes):
            if f"axis{a}" in text:
                n_shown = len(re.findall(rf"\bv{a}x\d+\b", text))
                line = text[text.index(f"axis{a}") :].split(f"axis{a + 1}")[0].split("best method")[0]
                hidden = re.search(r"and (\d+) more", line)
                assert n_shown == size or (hidden is not None and n_shown + int(hidden.group(1)) == size)


def test_without_a_height_nothing_is_dropped() -> None:
    for width in (80, 160):
        text = "\n".join(drawn(view(FULL, width=width, height=None), width))
        assert "more" not in text
        assert all(best.panel in text for best in BEST)


def test_of_many_values_those_being_worked_on_are_shown_first() -> None:
    counts = [Count(done=10, failed=0, total=10)] * 10 + [Count(done=4, failed=0, total=10)]
    axes = {"seed": {f"seed{n}": count for n, count in enumerate(counts)}}
    text = "\n".join(drawn(body(Snapshot(n_cells=110, by_axis=axes), width=60, height=4), 60))
    assert text.index("seed10") < text.index("seed0 ")
    assert "seed9" not in text


def test_in_a_wide_terminal_axes_and_methods_stand_side_by_side() -> None:
    lines = drawn(view(FULL, width=140, height=40), 140)
    assert any("mv" in line and "best method so far" in line for line in lines)


def test_the_plain_line() -> None:
    assert plain_line(FULL) == "25/50 cells · 2 running · 2 failed · 1:01:40 elapsed · ETA 01:15"
    done = Snapshot(n_cells=135, n_ok=135, elapsed=12.0)
    assert plain_line(done) == "135/135 cells · 0 running · 0 failed · 00:12 elapsed"
