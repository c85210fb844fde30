"""`python -m analysis RESULTS`: print the tables of a results folder and write its report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from analysis.load import load
from analysis.published import aggregation_tables as published
from analysis.report import describe, summary, write_report
from sweeps.store.result_store import ResultsError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis",
        description="Print the tables of a results folder, compare them with the published numbers, and write tables "
        "(CSV, Markdown, LaTeX), figures (PNG, SVG) and one HTML page.",
    )
    parser.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    parser.add_argument("--out", metavar="DIR", help="where to write (default: RESULTS/report, or report/ for a URI)")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        cells = load(options.results)
        if cells.empty:
            raise ResultsError(f"{options.results} holds no cells; python sweeps/full_grid.py --results makes some")
        console.print(summary(cells))
        report = write_report(options.results, options.out, cells=cells)
        for measure in report.comparison["measure"].unique():
            console.print(published.to_rich(report.comparison, measure))
    except (ResultsError, OSError) as error:
        print(f"analysis: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    n_failed = int((cells["status"] == "failed").sum())
    failures = f", {n_failed} failed" if n_failed else ""
    console.print(
        f"{len(cells)} cells{failures}; wrote {describe(report.files)} to {report.html.parent}; open {report.html}",
        soft_wrap=True,
    )
    return 0
