"""Write the tables of a results folder as CSV, with the best attempt of each cell.

examples:
  crowdml results export results --csv cells.csv
  crowdml results export results --csv csv/
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING


from crowdml.cli.display import Console, speak

if TYPE_CHECKING:
    import pandas as pd

TABLE_NAMES = ("cells", "curves", "workers")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    command.add_argument(
        "--csv", required=True, metavar="FILE|DIR", help="a file that ends in .csv, or a folder for one file per table"
    )
    command.add_argument("--table", choices=TABLE_NAMES, help="default: cells for a file, all three for a folder")
    command.add_argument(
        "--flatten", action="store_true",
        help="write one column per option and recipe field (method_options.max_iter) instead of JSON text",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Write the files and print their names."""
    from crowdml.cli.open_results import open_results

    console = Console()
    store = open_results(options.results)
    target = Path(options.csv)
    if target.suffix == ".csv":
        files = {options.table or "cells": target}
    else:
        files = {table: target / f"{table}.csv" for table in ((options.table,) if options.table else TABLE_NAMES)}
    for table, file in files.items():
        frame = store.read(table)
        if options.flatten and table == "cells":
            frame = flatten(frame)
        file.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(file, index=False)
        speak(console, f"wrote {len(frame)} rows of {table} to {file}")


def flatten(cells: pd.DataFrame) -> pd.DataFrame:
    """Replace each JSON column by one column `column.field` per field, empty in rows without the field."""
    import pandas as pd

    columns = []
    for name in cells.columns:
        if name not in ("pattern_options", "worker_options", "assignment_options", "method_options", "recipe"):
            columns.append(cells[name])
            continue
        rows = [json.loads(text) if isinstance(text, str) else {} for text in cells[name]]
        fields = dict.fromkeys(field for row in rows for field in row)
        for field in fields:
            values = pd.Series([row.get(field) for row in rows], index=cells.index, dtype=object)
            columns.append(values.rename(f"{name}.{field}"))
    return pd.concat(columns, axis=1)
