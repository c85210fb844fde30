"""Compare the test accuracy of our networks with papers: NNAQC, JoCoR, noise adaptation layer, learning from crowds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pandas as pd

from analysis.load import REAL, method_order
from analysis.published.sheets import OursAndPaper, Sheet, sheets_to_html, sheets_to_markdown

FILE = Path(__file__).parent / "networks.csv"
SETTING = ["dataset", "n_train", "network", "recipe", "pattern", "pattern_options", "noise_rate"]
KEYS = ["dataset", "n_train", "network", "pattern", "noise_rate", "method"]
COLUMNS = [
    "source", "table", *KEYS, "their_network", "epochs", "ours", "ours_std", "n_seeds", "published", "difference",
]  # fmt: skip
PLAIN_NETWORK = {"base": "mv"}
"""Our name of plain cross-entropy on the given labels: with one label per item, the majority vote is this label."""


@cache
def published_networks() -> pd.DataFrame:
    """Return one row per published test accuracy in percent.

    An empty `n_train` means the whole training set; an empty `network` means any network.  Some numbers on crowds of
    real workers come from other features or networks than ours; `table` says which.
    """
    table = pd.read_csv(FILE)
    return table.assign(method=table["method"].replace(PLAIN_NETWORK))


def compare_networks(cells: pd.DataFrame) -> pd.DataFrame:
    """Compare our mean test accuracies with published accuracies for the same data, noise and method.

    Only cells in the setting of the papers count: images with one label per item, or all labels of a real crowd.  Cells
    with another network or another number of epochs than the paper count too; the table then names both networks.
    Means are over seeds only.

    Args:
        cells: the result of `analysis.load.load`.

    Returns:
        A frame with the columns COLUMNS, in percent and percentage points; `difference` is ours minus published.
    """
    trained = cells[(cells["status"] == "ok") & cells["test_accuracy"].notna() & cells["network"].notna()]
    single = (trained["n_workers"] == 1) & (trained["missing_rate"] == 0) & (trained["pattern"] != REAL)
    whole = (trained["pattern"] == REAL) & trained["n_workers"].isna() & (trained["missing_rate"] == 0)
    wanted = trained[single | whole]
    if wanted.empty:
        return pd.DataFrame(columns=COLUMNS)
    groups = wanted.groupby([*SETTING, "method_name", "method"], dropna=False)["test_accuracy"]
    ours = pd.DataFrame({"ours": 100 * groups.mean(), "ours_std": 100 * groups.std(), "n_seeds": groups.count()})
    ours = ours.reset_index()
    ours["epochs"] = [json.loads(recipe).get("epochs") for recipe in ours["recipe"]]
    theirs = published_networks().rename(columns={"test_accuracy": "published", "network": "their_network"})
    for frame in (ours, theirs):
        for column in ("n_train", "noise_rate"):
            frame[column] = frame[column].astype(float).round(4)
    joined = ours.merge(theirs, on=["dataset", "n_train", "pattern", "noise_rate", "method"])
    joined = joined.assign(method=joined["method_name"], difference=joined["ours"] - joined["published"])
    return joined[COLUMNS].reset_index(drop=True)


def to_markdown(comparison: pd.DataFrame) -> str:
    """Return GitHub tables with entries "ours / paper (difference)"."""
    return sheets_to_markdown(_sheets(comparison), _entry)


def to_html(comparison: pd.DataFrame) -> str:
    """Return HTML tables with entries "ours / paper (difference)"."""
    return sheets_to_html(_sheets(comparison), lambda pair: f"<td>{_entry(pair)}</td>")


def _sheets(comparison: pd.DataFrame) -> Iterator[Sheet]:
    """Yield one table per source, table of the source, data set, network and number of epochs."""
    axes = ["source", "table", "dataset", "network", "their_network", "epochs"]
    for (source, table, dataset, network, theirs, epochs), part in comparison.groupby(axes, dropna=False, sort=False):
        other = f" (theirs {theirs})" if isinstance(theirs, str) and theirs != network else ""
        methods = method_order(list(part["method"].unique()))
        named = part.fillna({"n_train": 0, "noise_rate": -1})
        places = zip(named["n_train"].astype(float), named["pattern"], named["noise_rate"].astype(float), strict=True)
        keys: list[tuple[float, str, float]] = list(places)
        numbers = zip(named["ours"].astype(float), named["published"].astype(float), strict=True)
        pairs = dict(zip(zip(keys, named["method"], strict=True), numbers, strict=True))
        yield Sheet(
            caption=f"{source}, {table}: {dataset}, {network}{other}, {epochs} epochs: test accuracy (%)",
            head=("items", "pattern", "noise"),
            methods=methods,
            rows=[(_row_name(key), [pairs.get((key, method)) for method in methods]) for key in sorted(set(keys))],
        )


def _row_name(key: tuple[float, str, float]) -> tuple[str, ...]:
    n_train, pattern, noise_rate = key
    return (f"{n_train:.0f}" if n_train else "all", pattern, "-" if noise_rate < 0 else f"{noise_rate:g}")


def _entry(pair: OursAndPaper) -> str:
    return "-" if pair is None else f"{pair[0]:.2f} / {pair[1]:.2f} ({pair[0] - pair[1]:+.2f})"
