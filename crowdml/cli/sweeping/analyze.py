"""Print the tables of a results folder, compare them with published numbers, and write a report.

The report has tables (CSV, Markdown, LaTeX), figures (PNG, SVG) and one HTML page.

examples:
  crowdml analyze results
  crowdml analyze s3://bucket/crowdml --out report
"""

from __future__ import annotations

import argparse
import shlex

from crowdml.cli.display import Console, speak


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    command.add_argument(
        "--out", metavar="DIR", help="folder of the report (default: RESULTS/report, or report/ for a URI)"
    )


def run(options: argparse.Namespace) -> None:
    """Print the tables, write the report, and print the names of its files."""
    from analysis.load import load
    from analysis.published import aggregation_tables as published
    from analysis.report import describe, summary, write_report
    from crowdml.cli.open_results import open_results

    console = Console()
    store = open_results(options.results, must_exist=False)
    cells = load(store)
    if cells.empty:
        sweep = f"crowdml sweep --results {shlex.quote(options.results)}"
        raise ValueError(f"{options.results} holds no cells; run {sweep} first")
    console.print(summary(cells))
    report = write_report(store, options.out, cells=cells)
    for measure in report.comparison["measure"].unique():
        console.print(published.to_rich(report.comparison, measure))
    n_failed = int((cells["status"] == "failed").sum())
    failures = f", {n_failed} failed" if n_failed else ""
    files = f"{describe(report.files)} to {report.html.parent}"
    speak(console, f"{len(cells)} cells{failures}; wrote {files}; open {report.html}")
