"""Measure the overhead of a sweep: 5,000 label-only cells, computed by a sweep and in other ways.

    python benchmarks/scheduling.py                 # everything; about ten minutes on 2 cores
    python benchmarks/scheduling.py --cells 500     # a quick look

All ways compute the same cells, of a few milliseconds each, on the same two processors.  The share in cells is the sum
of the seconds that cells measure, divided by (wall seconds times processors).

    sweep           python sweeps/full_grid.py as a user calls it: start Ray, write rows, make the report
    a trial each    Ray Tune with one trial per cell, for a sample of cells, with and without reuse of processes
    a task each     ray.remote with one cell per task and with 50 cells per task; nothing is written

The benchmark also measures a sweep of twice the cells on a folder that holds all of them, the time to read 100,000
rows, and the peak memory of the driver for grids of several sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from crowdml import datasets
from crowdml.experiment.cell import Cell
from crowdml.experiment.run_cell import run_cell
from crowdml.support.device_info import describe_device
from sweeps.grid.presets import grid_cells
from sweeps.store.compaction import compact
from sweeps.store.result_store import ResultStore

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "results" / "scheduling.json"
N_PROCESSORS = 2
METHODS = ("mv", "em")
CELLS_A_SEED = 3 * 4 * 3 * len(METHODS)  # patterns x workers x missing rates
TRIAL_SAMPLE, TASK_BATCH = 30, 50

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all measurements, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=5000, metavar="N", help="cells of the sweep (default 5000)")
    parser.add_argument("--rows", type=int, default=100_000, metavar="N", help="rows to read (default 100000)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"default {OUT.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    console = Console()
    found: Row = {"processor": describe_device("cpu"), "cores": N_PROCESSORS, "cells": options.cells}
    with tempfile.TemporaryDirectory(prefix="crowdml-scheduling-") as folder:
        place = Path(folder)
        for name, measure in (
            ("sweep", lambda: sweep(place / "sweep", options.cells)),
            ("resume", lambda: resume(place / "resume", 2 * options.cells)),
            ("trials", lambda: one_trial_each(min(TRIAL_SAMPLE, options.cells))),
            ("tasks", lambda: plain_tasks(options.cells)),
            ("rows", lambda: reading(place / "resume", place / "rows", options.rows)),
            ("memory", lambda: driver_memory(place / "memory", (options.cells // 5, options.cells, 4 * options.cells))),
        ):
            console.print(f"measuring: {name}")
            found[name] = measure()
            console.print(json.dumps(found[name]))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    console.print(as_text(found))
    return 0


def cells_of(n_cells: int) -> list[Cell]:
    """Return a grid of `n_cells` cells or a few more: the preset `labels` on the digits, with more seeds."""
    return grid_cells("labels", {"datasets": ("digits",), "methods": METHODS, "seeds": tuple(range(_n_seeds(n_cells)))})


def sweep(results: Path, n_cells: int) -> Row:
    """Measure the command on a new results folder."""
    seconds, printed, _ = _command(results, n_cells)
    rows = ResultStore(results).read_cells()
    in_cells = float(rows["seconds"].sum())
    # The sweep prints the figures from its first trial on at its end.
    (match,) = re.findall(r"([\d.]+) % of the time in cells, ([\d.]+) ms per cell outside", printed)
    return {
        "cells": len(rows),
        "seconds_in_cells": in_cells,
        "wall_seconds": seconds,
        "share_in_cells": float(match[0]) / 100,
        "overhead_ms_a_cell": float(match[1]),
        "share_of_whole_command": in_cells / (N_PROCESSORS * seconds),
    }


def resume(results: Path, n_cells: int) -> Row:
    """Measure the command on a folder that holds all of its cells."""
    _command(results, n_cells)
    return {"cells": len(cells_of(n_cells)), "wall_seconds": min(_command(results, n_cells)[0] for _ in range(3))}


def one_trial_each(n_cells: int) -> Row:
    """Measure Ray Tune with one trial per cell."""
    return {name: _in_own_process("_trials", n_cells, reuse) for name, reuse in (("default", False), ("reused", True))}


def plain_tasks(n_cells: int) -> Row:
    """Measure Ray tasks with one cell and with fifty cells per task."""
    return {f"{batch} a task": _in_own_process("_tasks", n_cells, batch) for batch in (1, TASK_BATCH)}


def reading(source: Path, copies: Path, n_rows: int) -> Row:
    """Measure the time to read rows into pandas, from the files as written and after compaction."""
    store = ResultStore(copies)
    store.create()
    rows = ResultStore(source).read_rows("cells")
    n_parts = 0
    while n_parts * len(rows) < n_rows:
        ids = [f"{n_parts:06x}{cell_id[6:]}" for cell_id in rows["cell_id"].to_pylist()]
        renamed = rows.set_column(rows.schema.get_field_index("cell_id"), rows.schema.field("cell_id"), [ids])
        attempts = [f"{n_parts:04x}{attempt[4:]}" for attempt in rows["attempt"].to_pylist()]
        renamed = renamed.set_column(rows.schema.get_field_index("attempt"), rows.schema.field("attempt"), [attempts])
        for start in range(0, len(renamed), 500):
            store.write_rows("cells", renamed.slice(start, 500))
        n_parts += 1
    n_files = len(store.parts("cells"))
    before = _best(lambda: len(ResultStore(copies).read_cells()))
    compact(store)
    after = _best(lambda: len(ResultStore(copies).read_cells()))
    return {"rows": n_parts * len(rows), "files": n_files, "seconds": before, "seconds_compacted": after}


def driver_memory(results: Path, sizes: Iterable[int]) -> Row:
    """Return number of cells -> peak resident memory of the driver in MB, while cells run and with the report."""
    found = {}
    for size in sizes:
        peak = _command(results / str(size), size)[2]
        found[str(len(cells_of(size)))] = {"running": peak[0], "in all": peak[1]}
    return found


def as_text(found: Row) -> str:
    """Return the figures as Markdown."""
    ours, tasks, trials = found["sweep"], found["tasks"], found["trials"]
    lines = [
        f"{found['processor']}, {found['cores']} cores; {ours['cells']} cells of "
        f"{1000 * ours['seconds_in_cells'] / ours['cells']:.1f} ms on average",
        "",
        "| how | share of wall time in cells | overhead in ms per cell |",
        "| --- | ---: | ---: |",
        _line("sweep, from its first trial", ours["share_in_cells"], ours["overhead_ms_a_cell"]),
        _line("sweep, the whole command with Ray's start and the report", ours["share_of_whole_command"], None),
        *(_line(f"ray.remote, {name}", **row) for name, row in tasks.items()),
        *(_line(f"Tune, a trial each, {name}", **row) for name, row in trials.items()),
        "",
        f"The command on a finished folder of {found['resume']['cells']} cells: "
        f"{found['resume']['wall_seconds']:.1f} s.",
        f"Reading {found['rows']['rows']} rows: {found['rows']['seconds']:.2f} s from {found['rows']['files']} files, "
        f"{found['rows']['seconds_compacted']:.2f} s after compaction.",
        "Driver's peak memory while cells run, and with the report: "
        + "; ".join(f"{size} cells {mb['running']:.0f}, {mb['in all']:.0f} MB" for size, mb in found["memory"].items()),
    ]  # fmt: skip
    return "\n".join(lines)


def _line(name: str, share_in_cells: float, overhead_ms_a_cell: float | None, cells: int = 0) -> str:
    overhead = "" if overhead_ms_a_cell is None else f"{overhead_ms_a_cell:.2f}"
    return f"| {name} | {100 * share_in_cells:.1f} % | {overhead} |"


def _n_seeds(n_cells: int) -> int:
    return max(1, -(-n_cells // CELLS_A_SEED))


def _command(results: Path, n_cells: int) -> tuple[float, str, list[float]]:
    """Run the command; return its seconds, its output, and the driver's peak MB [while cells run, until its end]."""
    command = [
        sys.executable, "sweeps/full_grid.py", "--preset", "labels", "--datasets", "digits", "--methods", *METHODS,
        "--seeds", *map(str, range(_n_seeds(n_cells))), "--results", str(results), "--address", "local",
    ]  # fmt: skip
    start = time.perf_counter()
    driver = subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True)
    peak = [0.0, 0.0]
    watcher = threading.Thread(target=_watch, args=(driver.pid, results, peak))
    watcher.start()
    printed, _ = driver.communicate()
    seconds = time.perf_counter() - start
    watcher.join()
    if driver.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {driver.returncode}:\n{printed}")
    return seconds, printed, peak


def _watch(pid: int, results: Path, peak: list[float]) -> None:
    """Record the peak memory of a driver in MB: while its run record says that cells run, and until it ends."""
    status = Path(f"/proc/{pid}/status")
    with suppress(OSError, ValueError):
        while True:
            (kilobytes,) = re.findall(r"VmHWM:\s*(\d+)", status.read_text())
            peak[1] = float(kilobytes) * 1024 / 1e6
            records = [json.loads(path.read_text()) for path in (results / "runs").glob("*.json")]
            if not any(record["state"] != "running" for record in records):
                peak[0] = peak[1]
            time.sleep(0.1)


def _in_own_process(function: str, *arguments: Any) -> Row:
    """Run a measurement in a new process, with its own Ray."""
    code = f"from benchmarks import scheduling as s; import json; print(json.dumps(s.{function}(*{arguments!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{code} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _trials(n_cells: int, reuse: bool) -> Row:
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    import ray
    from ray import tune

    _start_ray()
    data = datasets.load("digits")
    cells = cells_of(n_cells)[:n_cells]

    class OneCell(tune.Trainable):
        def setup(self, config: Row, data: Any = None) -> None:
            self._data, self._cell = data, config["cell"]

        def reset_config(self, new_config: Row) -> bool:
            self._cell = new_config["cell"]
            return True

        def step(self) -> Row:
            return {"seconds_in_cell": run_cell(self._cell, self._data).seconds, "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            pass

    with tempfile.TemporaryDirectory() as storage:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(OneCell, data=data), {"CPU": 1}),
            param_space={"cell": tune.grid_search(cells)},
            tune_config=tune.TuneConfig(reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        )
        start = time.perf_counter()
        results = tuner.fit()
        wall = time.perf_counter() - start
    row = _shares(sum(result.metrics["seconds_in_cell"] for result in results if result.metrics), wall, len(cells))
    ray.shutdown()
    return row


def _tasks(n_cells: int, batch: int) -> Row:
    import ray

    _start_ray()
    data = ray.put(datasets.load("digits"))
    cells = cells_of(n_cells)[:n_cells]

    @ray.remote
    def compute(some: list[Cell], data: Any) -> list[Any]:
        return [run_cell(cell, data) for cell in some]

    batches = [cells[start : start + batch] for start in range(0, len(cells), batch)]
    ray.get([compute.remote(cells[:1], data) for _ in range(N_PROCESSORS)])
    start = time.perf_counter()
    results = [result for some in ray.get([compute.remote(some, data) for some in batches]) for result in some]
    row = _shares(sum(result.seconds for result in results), time.perf_counter() - start, len(cells))
    ray.shutdown()
    return row


def _start_ray() -> None:
    import ray

    ray.init(
        address="local", num_cpus=N_PROCESSORS, include_dashboard=False, object_store_memory=150_000_000,
        log_to_driver=False,
    )  # fmt: skip


def _shares(in_cells: float, wall: float, n_cells: int) -> Row:
    at_work = N_PROCESSORS * wall
    overhead = 1000 * (at_work - in_cells) / n_cells
    return {"cells": n_cells, "share_in_cells": in_cells / at_work, "overhead_ms_a_cell": overhead}


def _best(action: Callable[[], object]) -> float:
    return min(timeit.repeat(action, number=1, repeat=3))


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


if __name__ == "__main__":
    sys.exit(main())
