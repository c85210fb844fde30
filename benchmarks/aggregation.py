"""Compare speed, memory and accuracy of our aggregators with crowd-kit 1.4.2; measure only ours on very large crowds.

    pip install -e ".[benchmarks]"
    python benchmarks/aggregation.py                       # every case; half an hour on 2 cores, mostly for crowd-kit
    python benchmarks/aggregation.py --cases binary-500k --methods em glad

Each fit runs in its own process, after a fit on a tiny crowd that loads imports and compiled kernels.  Wall seconds and
CPU seconds count only the fit.  Memory is the peak of the process during the fit, including the input.  Both sides get
the same annotations.  Our Dawid-Skene and one-coin run for as many iterations as crowd-kit's version, until its rule
stops it.  Other methods use crowd-kit's rule and defaults on both sides.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.peers import PEERS, run_ours, run_peer
from crowdml.aggregation import DawidSkene
from crowdml.aggregation.inference.kernels import expectation
from crowdml.aggregation.inference.threads import cut, n_threads, run_parts
from crowdml.labels import CrowdLabels
from crowdml.noise import make_pattern, make_workers, simulate_crowd
from crowdml.noise.assignment import Balanced
from crowdml.support.device_info import describe_device, peak_memory_mb, reset_peak_memory

OUT = Path(__file__).parent / "results" / "aggregation.csv"

CrowdAndTruth = tuple[CrowdLabels, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A simulated crowd, and the methods that run on it."""

    description: str
    make: Callable[[], CrowdAndTruth]
    methods: tuple[str, ...]
    peer: bool = True
    floor: bool = True


def paper_crowd(n_classes: int) -> CrowdAndTruth:
    """Simulate 50,000 items x 9 workers with 60 % uniform noise and 30 % missing labels."""
    truth = np.arange(50_000) % n_classes
    rng = np.random.default_rng(0)
    workers = make_workers("homogeneous", make_pattern("uniform", 0.6, "benchmark"), 9, n_classes, rng)
    return simulate_crowd(truth, workers, missing_rate=0.3, seed=0), truth


def binary_crowd(n_items: int, labels_per_item: int, n_workers: int) -> CrowdAndTruth:
    """Simulate two classes, abilities from a Beta distribution with mean 70 %, and the same load for all workers."""
    truth = np.random.default_rng(1).integers(0, 2, n_items)
    rng = np.random.default_rng(0)
    workers = make_workers("beta_ability", make_pattern("uniform", 0.3, "benchmark"), n_workers, 2, rng)
    return simulate_crowd(truth, workers, assignment=Balanced(labels_per_item), seed=0), truth


def many_classes_crowd(n_items: int, labels_per_item: int, n_workers: int, n_classes: int) -> CrowdAndTruth:
    """Simulate workers who are right with probability 60 %, and otherwise draw any class."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, n_classes, n_items)
    item = np.repeat(np.arange(n_items), labels_per_item)
    # Neighbouring workers label an item, so that nobody labels an item twice.
    worker = (rng.integers(0, n_workers, n_items)[:, None] + np.arange(labels_per_item)).ravel() % n_workers
    label = np.where(rng.random(len(item)) < 0.6, truth[item], rng.integers(0, n_classes, len(item)))
    return CrowdLabels(item, worker, label, n_items, n_workers, n_classes, repeats="keep"), truth


HEADINGS = (
    "method", "s", "CPU s", "GiB", "crowd-kit s", "CPU s", "GiB", "times faster", "same labels", "error % (its)",
)  # fmt: skip
MANY_CLASSES = tuple(name for name, peer in PEERS.items() if not peer.binary_only)
VERY_LARGE = ("mv", "one_coin", "em")

CASES = {
    "classes-10": Case("50,000 items x 9 workers, 30 % missing, 10 classes", lambda: paper_crowd(10), MANY_CLASSES),
    "classes-100": Case("50,000 items x 9 workers, 30 % missing, 100 classes", lambda: paper_crowd(100), MANY_CLASSES),
    "classes-6000": Case(
        "100,000 items x 10 labels, 1,000 workers, 6,000 classes", lambda: many_classes_crowd(100_000, 10, 1000, 6000),
        ("mv",), floor=False,  # matrices of 6,000 x 6,000 classes take 288 GB
    ),
    "binary-500k": Case(
        "100,000 items x 5 labels, 500 workers, 2 classes", lambda: binary_crowd(100_000, 5, 500), tuple(PEERS)
    ),
    "binary-10m": Case(
        "1,000,000 items x 10 labels, 1,000 workers, 2 classes", lambda: binary_crowd(1_000_000, 10, 1000),
        VERY_LARGE, peer=False,
    ),
    "binary-100m": Case(
        "10,000,000 items x 10 labels, 1,000 workers, 2 classes", lambda: binary_crowd(10_000_000, 10, 1000),
        VERY_LARGE, peer=False,
    ),
}  # fmt: skip


def main() -> None:
    """Run the cases and write the table."""
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(_measure_here(**json.loads(arguments.one))))
        return
    rows = []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory() as folder, Progress(*columns, console=console) as progress:
        for name in arguments.cases:
            case = CASES[name]
            task = progress.add_task(f"{name}: simulating", total=None)
            crowd = Path(folder) / f"{name}.npz"
            _save(crowd, *case.make())
            chosen = [method for method in case.methods if method in arguments.methods]
            progress.update(task, total=len(chosen), completed=0)
            for method in chosen:
                progress.update(task, description=f"{name}: {method}")
                rows += _compare(crowd, name, method, arguments, peer=case.peer and not arguments.no_peer)
                progress.advance(task)
            if case.floor and not arguments.no_floor:
                rows.append({"case": name, **_in_process({"what": "floor", "crowd": str(crowd)}, arguments.timeout)})
            crowd.unlink()
    table = pd.DataFrame(rows)
    OUT.parent.mkdir(exist_ok=True)
    table.to_csv(OUT, index=False, float_format="%.6g")
    console.print(f"{describe_device('cpu')}, {n_threads()} threads; wrote {OUT}")
    print(as_text(table))


def as_text(table: pd.DataFrame) -> str:
    """Return Markdown tables with both sides of a method in one row."""
    lines = []
    for case, rows in table.groupby("case", sort=False):
        lines += ["", f"**{case}**: {CASES[str(case)].description}", ""]
        lines += ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
        for method, pair in rows[rows.side.isin(["ours", "crowd-kit"])].groupby("method", sort=False):
            lines.append(_row(str(method), *(pair[pair.side == side] for side in ("ours", "crowd-kit"))))
        for floor in rows[rows.side == "floor"].itertuples():
            times = f"{1e3 * floor.iteration:.1f} ms; streaming its arrays {1e3 * floor.stream:.1f} ms"
            lines += ["", f"One Dawid-Skene iteration {times}: {floor.iteration / floor.stream:.1f} times the floor."]
    return "\n".join(lines)


def _row(method: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    us = ours.iloc[0]
    if us.failure:
        return f"| {method} | {us.failure}" + " |" * (len(HEADINGS) - 1)
    cells = [method, f"{us.wall:.3g}", f"{us.cpu:.3g}", f"{us.memory:.2f}"]
    them = None if theirs.empty else theirs.iloc[0]
    if them is None or them.failure:
        cells += ["" if them is None else them.failure, "", "", "", "", f"{100 * us.error:.2f}"]
    else:
        # If other programs slowed crowd-kit down, its CPU seconds are the fairer figure.
        faster, same = f"{min(them.wall, them.cpu) / us.wall:.0f}", f"{100 * us.same:.2f} %"
        errors = f"{100 * us.error:.2f} ({100 * them.error:.2f})"
        cells += [f"{them.wall:.3g}", f"{them.cpu:.3g}", f"{them.memory:.2f}", faster, same, errors]
    return "| " + " | ".join(cells) + " |"


def _compare(crowd: Path, case: str, method: str, arguments: argparse.Namespace, *, peer: bool) -> list[dict[str, Any]]:
    theirs = crowd.with_name("theirs.npy")
    theirs.unlink(missing_ok=True)
    job = {"what": "fit", "crowd": str(crowd), "method": method, "answer": str(theirs)}
    rows, n_iter = [], None
    if peer:
        rows.append(_in_process({**job, "side": "crowd-kit"}, arguments.timeout))
        n_iter = rows[0].get("n_iter")
    rows.append(_in_process({**job, "side": "ours", "n_iter": n_iter}, arguments.timeout))
    return [{"case": case, "method": method, **row} for row in rows]


def _in_process(job: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Run a job in its own process.  Return its measurements, or why it failed."""
    command = [sys.executable, __file__, "--one", json.dumps(job)]
    side = {"side": job.get("side", "floor")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {**side, "failure": f"over {timeout:.0f} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed: out of memory?"])[-1]
        return {**side, "failure": last[:60]}
    return {**side, "failure": "", **json.loads(done.stdout.strip().splitlines()[-1])}


def _measure_here(what: str, crowd: str, **job: Any) -> dict[str, Any]:
    annotations, truth = _load(Path(crowd))
    return _floor(annotations) if what == "floor" else _fit(annotations, truth, **job)


def _fit(
    crowd: CrowdLabels, truth: np.ndarray, *, side: str, method: str, answer: str, n_iter: int | None = None
) -> dict[str, Any]:
    tiny = CrowdLabels.from_dense(np.arange(24).reshape(8, 3) % crowd.n_classes, n_classes=crowd.n_classes)
    call, warm = (
        run_peer(method, each) if side == "crowd-kit" else run_ours(method, each, n_iter) for each in (crowd, tiny)
    )
    try:
        warm()
    except Exception as error:  # a peer may fail on the tiny crowd but not on the real crowd
        print(f"warm-up: {error!r}", file=sys.stderr)
    reset_peak_memory()
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    row = {**seconds, "memory": peak_memory_mb() * 1e6 / 2**30, "error": float((result.labels != truth).mean())}
    if side == "crowd-kit":
        np.save(answer, result.labels)
    elif Path(answer).exists():
        row["same"] = float((result.labels == np.load(answer)).mean())
    return {**row, "n_iter": int(result.n_iter)}


def _floor(crowd: CrowdLabels) -> dict[str, Any]:
    """Measure the seconds of a Dawid-Skene iteration, and of only reading annotations and rewriting the posterior."""
    fitted = DawidSkene(max_iter=2).fit(crowd)
    posterior, log_confusion = fitted.posterior.copy(), np.log(np.maximum(fitted.confusion, 1e-12))
    log_prior = np.log(np.maximum(fitted.class_prior, 1e-12))
    start, answers = crowd.by_item.start, crowd.answers

    def stream(first: int, last: int) -> None:
        np.bitwise_xor.reduce(start[first:last])
        np.bitwise_xor.reduce(answers[start[first] : start[last]])
        np.multiply(posterior[first:last], 1.0, out=posterior[first:last])

    parts = cut(start, crowd.n_classes, log_confusion.size)
    streamed = _fastest(lambda: run_parts(stream, parts))
    return {"iteration": _fastest(lambda: expectation(crowd, log_confusion, log_prior, posterior)), "stream": streamed}


def _fastest(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=1, repeat=7))


def _save(path: Path, crowd: CrowdLabels, truth: np.ndarray) -> None:
    sizes = np.array([crowd.n_items, crowd.n_workers, crowd.n_classes])
    np.savez(path, item=crowd.item, worker=crowd.worker, label=crowd.label, sizes=sizes, truth=truth)


def _load(path: Path) -> CrowdAndTruth:
    with np.load(path) as stored:
        columns = (stored[name] for name in ("item", "worker", "label"))
        return CrowdLabels(*columns, *stored["sizes"].tolist(), repeats="keep"), stored["truth"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="which crowds (default: all)")
    parser.add_argument("--methods", nargs="+", choices=PEERS, default=list(PEERS), help="which methods (default: all)")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds until a fit is stopped (default: 900)")
    parser.add_argument("--no-peer", action="store_true", help="do not run crowd-kit")
    parser.add_argument("--no-floor", action="store_true", help="do not measure the time to stream the arrays")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
