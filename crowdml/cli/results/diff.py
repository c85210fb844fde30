"""Compare two results folders.

The command prints the cells that only one folder has, the cells whose results differ (times, memory and
tracebacks do not count), and differences in the origin of the rows.

example:
  crowdml results diff old new --csv differences.csv

exit code: 0 the same cells with the same results, 1 not the same
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rich.table import Table

from crowdml.cli.display import Console, speak
from crowdml.cli.parser import not_negative

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.store.comparison import Comparison

ROWS_SHOWN = 20


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("a", metavar="A", help="results folder, local or s3://... or gs://...")
    command.add_argument("b", metavar="B", help="another results folder")
    command.add_argument(
        "--tolerance", type=not_negative, metavar="X",
        help="numbers that differ by at most X count as equal (default: 0, and 1e-6 for cells with a network)",
    )  # fmt: skip
    command.add_argument("--csv", metavar="FILE", help="write every differing cell to a CSV file")


def run(options: argparse.Namespace) -> int:
    """Compare the folders and print what differs.  Return 1 if something differs."""
    from crowdml.cli.open_results import open_results
    from sweeps.store.comparison import compare

    console = Console()
    frames = [open_results(location).read_cells() for location in (options.a, options.b)]
    found = compare(*frames, tolerance=options.tolerance)
    for name, rows in (("A", found.only_a), ("B", found.only_b)):
        _print(console, f"{len(rows)} cells only in {name}", rows)
    n_different = len(found.different.drop(columns=["column", "a", "b"]).drop_duplicates())
    _print(console, f"{found.n_both} cells in both; {n_different} have other results", found.different)
    if found.n_other_version:
        speak(console, f"{found.n_other_version} cells in both are of another version of their method")
    _print(console, f"{len(found.provenance)} differences in where rows come from", found.provenance)
    if options.csv:
        _differences(found).to_csv(options.csv, index=False)
        speak(console, f"wrote {options.csv}")
    return 0 if found.same else 1


def _differences(found: Comparison) -> pd.DataFrame:
    """Return one row per differing cell and column, with `where`: "A", "B" or "both"."""
    import pandas as pd

    parts = {"A": found.only_a, "B": found.only_b, "both": found.different}
    return pd.concat([part.assign(where=name) for name, part in parts.items()], ignore_index=True)


def _print(console: Console, title: str, rows: pd.DataFrame) -> None:
    speak(console, title)
    if rows.empty:
        return
    # Leave out axes that are equal in all rows.
    always = ("method", "what", "column", "a", "b")
    shown = [name for name in rows.columns if name in always or rows[name].nunique(dropna=False) > 1]
    table = Table(*shown)
    for row in rows[shown].head(ROWS_SHOWN).itertuples(index=False):
        table.add_row(*map(_shown, row))
    console.print(table)
    if len(rows) > ROWS_SHOWN:
        speak(console, f"... and {len(rows) - ROWS_SHOWN} more; --csv FILE writes all")


def _shown(value: Any) -> str:
    return "-" if value is None or value != value else str(value)

