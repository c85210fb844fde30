"""Measure the accuracy of aggregators on real crowds, and compare it with published figures and crowd-kit 1.4.2.

    CROWDML_DATA_ROOT=... python benchmarks/real_crowds.py            # a few minutes on 2 cores
    python benchmarks/real_crowds.py --crowds bluebird web --methods em ibcc --seeds 1

If k classes are tied and one of them is right, the item counts 1/k, so that no tie rule has an advantage.  Methods with
random draws are averaged over seeds.  The output is a table, then each accuracy that is more than half a percentage
point below a published figure or crowd-kit, and then the best methods on average (bootstrap over crowds and items).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from benchmarks.peers import PEERS, run_peer
from crowdml import methods
from crowdml.aggregation.aggregator import TIED
from crowdml.datasets.crowds import crowd_names, load_crowd
from crowdml.labels import CrowdLabels

OUT = Path(__file__).parent / "results" / "real_crowds.csv"
PUBLISHED = Path(__file__).parent / "published" / "real_crowds.csv"
RANDOM = ("mace", "ebcc", "laa", "bila")
GAP = 0.005
SMALL = ["bluebird", "rte", "web", "product", "sp_amt", "ms", "temp", "zc_us"]


def main() -> None:
    """Run the methods, write the table and print it."""
    arguments = _arguments()
    console = Console(stderr=True)
    credits: dict[tuple[str, str], np.ndarray] = {}
    rows = []
    for name in arguments.crowds:
        data = load_crowd(name)
        crowd, truth = data.crowd, data.truth
        for method in track(arguments.methods, f"{name:>10}", console=console):
            start = time.perf_counter()
            try:
                credit = _ours(method, crowd, truth, arguments.seeds)
            except ValueError as error:
                rows.append({"crowd": name, "method": method, "side": "ours", "failure": str(error)})
                continue
            credits[name, method] = credit
            seconds = (time.perf_counter() - start) / (arguments.seeds if method in RANDOM else 1)
            rows.append(_row(name, method, "ours", credit, seconds))
            if method in PEERS and not arguments.no_peer:
                rows.append(_peer(name, method, crowd, truth))
    table = pd.DataFrame(rows)
    OUT.parent.mkdir(exist_ok=True)
    table.to_csv(OUT, index=False, float_format="%.6g")
    console.print(f"wrote {OUT}")
    reference = pd.read_csv(PUBLISHED)
    print(as_text(table, reference))
    print(gaps(table, reference))
    print(best_on_average(credits, arguments.methods))


def as_text(table: pd.DataFrame, reference: pd.DataFrame) -> str:
    """Return a Markdown table of accuracy in percent, methods x crowds: "ours / crowd-kit (published)"."""
    ours, theirs = (_wide(table[table.side == side]) for side in ("ours", "crowd-kit"))
    published = reference.groupby(["method", "crowd"]).accuracy.max()
    complete = ours.mean(axis=1, skipna=False).sort_values(ascending=False)
    crowds = list(ours.columns)
    lines = ["| method | " + " | ".join(crowds) + " | mean |", "|---" * (len(crowds) + 2) + "|"]
    for method in complete.index:
        cells = []
        for crowd in crowds:
            text = "" if np.isnan(ours.at[method, crowd]) else f"{100 * ours.at[method, crowd]:.1f}"
            if method in theirs.index and crowd in theirs and not np.isnan(theirs.at[method, crowd]):
                text += f" / {100 * theirs.at[method, crowd]:.1f}"
            if (method, crowd) in published:
                text += f" ({100 * published[method, crowd]:.1f})"
            cells.append(text)
        mean = "" if np.isnan(complete[method]) else f"{100 * complete[method]:.2f}"
        lines.append(f"| {method} | " + " | ".join(cells) + f" | {mean} |")
    return "\n".join(lines)


def gaps(table: pd.DataFrame, reference: pd.DataFrame) -> str:
    """List where our accuracy is more than half a percentage point below a published figure or crowd-kit."""
    ours = table[table.side == "ours"].set_index(["method", "crowd"]).accuracy
    peer = table[table.side == "crowd-kit"].assign(source="crowd-kit 1.4.2")
    lines = ["", "More than 0.5 percentage points below a figure of the same method:"]
    for row in pd.concat([reference, peer]).itertuples():
        mine = ours.get((row.method, row.crowd), np.nan)
        if mine < row.accuracy - GAP:
            lines.append(f"- {row.method} on {row.crowd}: {100 * mine:.2f}, {row.source}: {100 * row.accuracy:.2f}")
    return "\n".join(lines if len(lines) > 2 else [*lines, "- none"])


def best_on_average(credits: dict[tuple[str, str], np.ndarray], names: list[str], draws: int = 2000) -> str:
    """Return a table of the mean accuracy of each method, and of the share of resamples in which it is the best.

    Only methods that ran on all crowds count.  Crowds, and items within each crowd, are drawn with replacement; all
    methods get the same draws (paired bootstrap).
    """
    crowds = list(dict.fromkeys(crowd for crowd, _ in credits))
    complete = [name for name in names if all((crowd, name) in credits for crowd in crowds)]
    stacked = [np.stack([credits[crowd, name] for name in complete]) for crowd in crowds]
    rng = np.random.default_rng(0)
    # The mean over resampled items is a product with multinomial weights.
    resampled = np.stack([credit @ _weights(rng, credit.shape[1], draws) for credit in stacked])
    chosen = rng.integers(0, len(crowds), (len(crowds), draws))
    means = np.take_along_axis(resampled, chosen[:, None, :], axis=0).mean(axis=0)
    best = np.bincount(means.argmax(axis=0), minlength=len(complete)) / draws
    mean = np.mean([credit.mean(axis=1) for credit in stacked], axis=0)
    low, high = np.quantile(means - means[mean.argmax()], [0.025, 0.975], axis=1)
    title = f"Mean over {len(crowds)} crowds; difference to the best (95 % interval); share of resamples where best:"
    lines = ["", title, "", "| method | mean % | difference to the best | best in |", "|---|---|---|---|"]
    for at in np.argsort(-mean):
        gap = f"{100 * (mean[at] - mean.max()):.2f} ({100 * low[at]:.2f} to {100 * high[at]:.2f})"
        lines.append(f"| {complete[at]} | {100 * mean[at]:.2f} | {gap} | {100 * best[at]:.0f} % |")
    return "\n".join(lines)


def _weights(rng: np.random.Generator, n_items: int, draws: int) -> np.ndarray:
    """Return (n_items, draws) how often each item is drawn, divided by the number of items."""
    if n_items > 5000:
        return rng.poisson(1.0, (n_items, draws)).astype(np.float32) / n_items
    return rng.multinomial(n_items, np.full(n_items, 1 / n_items), draws).T / n_items


def _ours(name: str, crowd: CrowdLabels, truth: np.ndarray, seeds: int) -> np.ndarray:
    """Return (n_known,) the credit per item with a known class, averaged over seeds for a random method."""
    runs = range(seeds if name in RANDOM else 1)
    made = [methods.resolve(name, {"seed": seed}, labels_only=True).source.fit(crowd).posterior for seed in runs]
    return np.mean([_credit(posterior, truth) for posterior in made], axis=0)


def _peer(name: str, method: str, crowd: CrowdLabels, truth: np.ndarray) -> dict[str, object]:
    try:
        start = time.perf_counter()
        answer = run_peer(method, crowd)()
    except Exception as error:  # the peer may raise any error; the error is its result
        return {"crowd": name, "method": method, "side": "crowd-kit", "failure": f"{type(error).__name__}: {error}"}
    right = (answer.labels == truth)[truth >= 0]
    return _row(name, method, "crowd-kit", right.astype(float), time.perf_counter() - start)


def _row(crowd: str, method: str, side: str, credit: np.ndarray, seconds: float) -> dict[str, object]:
    accuracy = {"accuracy": credit.mean(), "standard_error": credit.std() / np.sqrt(len(credit))}
    return {"crowd": crowd, "method": method, "side": side, **accuracy, "seconds": seconds, "failure": ""}


def _credit(posterior: np.ndarray, truth: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(truth >= 0)
    best = posterior[known] >= posterior[known].max(axis=1, keepdims=True) - TIED
    return best[np.arange(len(known)), truth[known]] / best.sum(axis=1)


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    order = list(rows.crowd.unique())
    return rows.pivot_table(index="method", columns="crowd", values="accuracy", dropna=False)[order]


def _arguments() -> argparse.Namespace:
    aggregators = [name for name, entry in methods.REGISTRY.items() if entry.kind == "aggregator"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crowds", nargs="+", choices=crowd_names(), default=SMALL, help="which crowds")
    parser.add_argument("--methods", nargs="+", choices=aggregators, default=aggregators, help="which methods")
    parser.add_argument("--seeds", type=int, default=5, help="runs of a method with random draws (default: 5)")
    parser.add_argument("--no-peer", action="store_true", help="leave crowd-kit out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
