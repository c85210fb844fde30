"""Our networks' test accuracies beside the papers': NNAQC, JoCoR, the noise adaptation layer, learning from crowds."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from analysis.load import REAL, method_order
from analysis.tables import markdown_table

FILE = Path(__file__).parent / "networks.csv"
SETTING = ["dataset", "n_train", "network", "recipe", "pattern", "pattern_options", "noise_rate"]
KEYS = ["dataset", "n_train", "network", "pattern", "noise_rate", "method"]
COLUMNS = [
    "source",
    "table",
    *KEYS,
    "their_network",
    "epochs",
    "ours",
    "ours_std",
    "n_seeds",
    "published",
    "difference",
]
PLAIN_NETWORK = {"base": "mv"}
"""Plain cross-entropy on the labels as they are: with one label an item that is the majority vote's."""


@cache
def published_networks() -> pd.DataFrame:
    """One row a published test accuracy (percent); `n_train` empty is the whole set, `network` empty any network.

    Two methods' numbers on crowds of real workers come from features or networks unlike ours: `table` says of which.
    """
    table = pd.read_csv(FILE)
    return table.assign(method=table["method"].replace(PLAIN_NETWORK))


def compare_networks(cells: pd.DataFrame) -> pd.DataFrame:
    """Our mean test accuracies beside every published one of the same data, noise and method.

    Only cells in the papers' setting count: one label an item on images, or all labels of a real crowd.  A cell whose
    network or length of training differs from the paper's is shown too, with both named; nothing but seeds is averaged.

    Args:
        cells: of `analysis.load.load`.

    Returns:
        COLUMNS, in percent and points; `difference` is ours minus published.
    """
    trained = cells[(cells["status"] == "ok") & cells["test_accuracy"].notna()]
    single = (trained["n_workers"] == 1) & (trained["missing_rate"] == 0) & (trained["pattern"] != REAL)
    whole = (trained["pattern"] == REAL) & trained["n_workers"].isna() & (trained["missing_rate"] == 0)
    wanted = trained[single | whole]
    if wanted.empty:
        return pd.DataFrame(columns=COLUMNS)
    groups = wanted.groupby(
        [
            "dataset",
            "n_train",
            "network",
            "recipe",
            "pattern",
            "pattern_options",
            "noise_rate",
            "method_name",
            "method",
        ],
        dropna=False,
    )["test_accuracy"]
    ours = pd.DataFrame({"ours": 100 * groups.mean(), "ours_std": 100 * groups.std(), "n_seeds": groups.count()})
    ours = ours.reset_index()
    ours["epochs"] = [json.loads(recipe)["epochs"] for recipe in ours["recipe"]]
    theirs = published_networks().rename(columns={"test_accuracy": "published", "network": "their_network"})
    for frame in (ours, theirs):
        for column in ("n_train", "noise_rate"):
            frame[column] = frame[column].astype(float).round(4)
    joined = ours.merge(theirs, on=["dataset", "n_train", "pattern", "noise_rate", "method"])
    joined = joined.assign(method=joined["method_name"], difference=joined["ours"] - joined["published"])
    return joined[COLUMNS].reset_index(drop=True)


@dataclass(frozen=True)
class Sheet:
    """One source's numbers on one data set.

    Args:
        caption: what is compared.
        head: titles of the columns with the rows' names.
        methods: the columns.
        rows: the names of a row and, for each method, ours and the paper's; None where one is not there.
    """

    caption: str
    head: tuple[str, ...]
    methods: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[tuple[float, float] | None, ...]], ...]


def sheets(comparison: pd.DataFrame) -> Iterator[Sheet]:
    """The comparison as one sheet a source, table, data set, network and length of training."""
    axes = ["source", "table", "dataset", "network", "their_network", "epochs"]
    for (source, table, dataset, network, theirs, epochs), part in comparison.groupby(axes, dropna=False, sort=False):
        other = f" (theirs {theirs})" if isinstance(theirs, str) and theirs != network else ""
        methods = tuple(method_order(list(part["method"].unique())))
        named = part.fillna({"n_train": 0, "noise_rate": -1})
        places = zip(named["n_train"].astype(float), named["pattern"], named["noise_rate"].astype(float), strict=True)
        keys: list[tuple[float, str, float]] = list(places)
        numbers = zip(named["ours"].astype(float), named["published"].astype(float), strict=True)
        pairs = dict(zip(zip(keys, named["method"], strict=True), numbers, strict=True))
        yield Sheet(
            caption=f"{source}, {table}: {dataset}, {network}{other}, {epochs} epochs: test accuracy (%)",
            head=("items", "pattern", "noise"),
            methods=methods,
            rows=tuple(
                (_row_name(key), tuple(pairs.get((key, method)) for method in methods)) for key in sorted(set(keys))
            ),
        )


def to_markdown(comparison: pd.DataFrame) -> str:
    """GitHub tables: ours / the paper's (difference)."""
    return "\n".join(
        markdown_table(
            f"{sheet.caption}: ours / paper (difference)",
            sheet.methods,
            [(*names, *map(_entry, pairs)) for names, pairs in sheet.rows],
            sheet.head,
        )
        for sheet in sheets(comparison)
    )


def to_html(comparison: pd.DataFrame) -> str:
    """HTML tables of the same."""
    made = []
    for sheet in sheets(comparison):
        titles = "".join(f"<th>{html.escape(name)}</th>" for name in (*sheet.head, *sheet.methods))
        lines = "".join(
            f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in (*names, *map(_entry, pairs)))}</tr>"
            for names, pairs in sheet.rows
        )
        made.append(f"<h3>{html.escape(sheet.caption)}</h3><table><tr>{titles}</tr>{lines}</table>")
    return "\n".join(made)


def _row_name(key: tuple[float, str, float]) -> tuple[str, ...]:
    n_train, pattern, noise_rate = key
    return (f"{n_train:.0f}" if n_train else "all", pattern, "-" if noise_rate < 0 else f"{noise_rate:g}")


def _entry(pair: tuple[float, float] | None) -> str:
    return "-" if pair is None else f"{pair[0]:.2f} / {pair[1]:.2f} ({pair[0] - pair[1]:+.2f})"
