"""`python -m sweeps diff A B`: what tells two results folders apart."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.store.comparison import Comparison

ROWS_SHOWN = 20


def add_parser(commands: Any) -> None:
    """Add the command's parser to argparse's subparsers."""
    parser = commands.add_parser(
        "diff",
        allow_abbrev=False,
        help="cells, results and provenance that differ between two folders",
        description="Compare two results folders: cells that only one has, cells whose results differ (times, memory "
        "and tracebacks left out), and where the rows come from. Exit code: 0 the same cells with the same results, "
        "1 not.",
    )
    parser.add_argument("a", metavar="A", help="results folder, local or s3://... or gs://...")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument(
        "--tolerance",
        type=_not_negative,
        metavar="X",
        help="largest difference of a number that counts as none (default: 0, and 1e-6 of cells with a network)",
    )
    parser.add_argument("--csv", metavar="FILE", help="write every differing cell to a CSV file")


def run(options: argparse.Namespace, console: Console) -> int:
    """Compare, print what differs, and say by the exit code whether something does."""
    from crowdml.cli.results_folder.folders import existing
    from sweeps.store.comparison import compare

    frames = [existing(location).read_cells() for location in (options.a, options.b)]
    found = compare(*frames, tolerance=options.tolerance)
    for name, rows in (("A", found.only_a), ("B", found.only_b)):
        _print(console, f"{len(rows)} cells only in {name}", rows)
    _print(console, f"{found.n_both} cells in both; {_n_cells(found.different)} have other results", found.different)
    if found.n_other_version:
        console.print(
            f"{found.n_other_version} cells in both are of another version of their method",
            markup=False,
            highlight=False,
        )
    _print(console, f"{len(found.provenance)} differences in where rows come from", found.provenance)
    if options.csv:
        _differences(found).to_csv(options.csv, index=False)
        console.print(f"wrote {options.csv}", markup=False, highlight=False, soft_wrap=True)
    return 0 if found.same else 1


def _differences(found: Comparison) -> pd.DataFrame:
    """One row a differing cell and column, with `where`: "A", "B" or "both"."""
    import pandas as pd

    parts = {"A": found.only_a, "B": found.only_b, "both": found.different}
    return pd.concat([part.assign(where=name) for name, part in parts.items()], ignore_index=True)


def _print(console: Console, title: str, rows: pd.DataFrame) -> None:
    console.print(title, markup=False, highlight=False)
    if rows.empty:
        return
    # Axes in which the rows do not differ would only take the place.
    shown = [name for name in rows.columns if name in ("method", "what", "column", "a", "b") or _varies(rows[name])]
    table = Table(*shown)
    for row in rows[shown].head(ROWS_SHOWN).itertuples(index=False):
        table.add_row(*map(_shown, row))
    console.print(table)
    if len(rows) > ROWS_SHOWN:
        console.print(f"... and {len(rows) - ROWS_SHOWN} more; --csv FILE writes all", markup=False, highlight=False)


def _varies(column: pd.Series) -> bool:
    return column.nunique(dropna=False) > 1


def _shown(value: Any) -> str:
    return "-" if value is None or value != value else escape(str(value))


def _n_cells(different: pd.DataFrame) -> int:
    return len(different.drop(columns=["column", "a", "b"]).drop_duplicates())


def _not_negative(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {value:g}")
    return value
