"""`python -m sweeps export RESULTS --csv FILE|DIR`: results as CSV."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    import pandas as pd

TABLE_NAMES = ("cells", "curves", "workers")


def add_parser(commands: Any) -> None:
    """Add the command's parser to argparse's subparsers."""
    parser = commands.add_parser(
        "export",
        allow_abbrev=False,
        help="write results as CSV",
        description="Write the tables of a results folder as CSV, the best attempt of each cell.",
    )
    parser.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    parser.add_argument(
        "--csv", required=True, metavar="FILE|DIR", help="a file that ends in .csv, or a folder for one file a table"
    )
    parser.add_argument("--table", choices=TABLE_NAMES, help="default: cells for a file, all three for a folder")
    parser.add_argument(
        "--flatten",
        action="store_true",
        help="a column for each option and recipe field (method_options.max_iter) instead of JSON text",
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Write the files, and say which."""
    from crowdml.cli.results_folder.folders import existing

    store = existing(options.results)
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
        console.print(f"wrote {len(frame)} rows of {table} to {file}", markup=False, highlight=False, soft_wrap=True)
    return 0


def flatten(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with each JSON column replaced by one column a field, `column.field`, empty where a row lacks it."""
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
