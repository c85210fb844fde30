"""Write the report of a results folder: tables, figures, comparison with papers, and one HTML page."""

from __future__ import annotations

import html
import json
import shlex
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Group
from rich.text import Text

from analysis import statistics
from analysis.load import Results, load, load_curves, opened, with_names
from analysis.published import aggregation_tables as published
from analysis.published import network_tables as published_networks
from analysis.real_crowds import crowd_tables
from analysis.tables import ACCURACY, ERROR, Table, tables, to_csv, to_html, to_latex, to_markdown, to_rich
from crowdml.support.whole_file import whole_file

PAGE = "report.html"


class ReportError(ValueError):
    """A file of the report cannot be written."""


@dataclass(frozen=True)
class WrittenReport:
    """The files of a report and its comparisons with papers.

    Args:
        html: the page with the whole report.
        files: all files, including the page.
        comparison: comparison with LABNET, the result of `analysis.published.aggregation_tables.compare`.
        networks: comparison with other papers, the result of `analysis.published.network_tables.compare_networks`.
    """

    html: Path
    files: tuple[Path, ...]
    comparison: pd.DataFrame
    networks: pd.DataFrame


def summary(cells: pd.DataFrame) -> Group:
    """Return the tables of cells (from `ResultStore.read_cells` or `load`) for the terminal."""
    named = cells if "method_name" in cells else with_names(cells)
    parts = [to_rich(table) for table in (*tables(named), *crowd_tables(named))]
    return Group(*parts) if parts else Group(Text("no cell has a result yet"))


def find_report(results: str | Path) -> Path | None:
    """Return the existing report of these results at its default path, or None."""
    page = _folder(results) / PAGE
    return page if page.is_file() else None


def write_report(
    results: Results, out: str | Path | None = None, *, cells: pd.DataFrame | None = None
) -> WrittenReport:
    """Write the report of a results folder.

    Args:
        results: the results folder: a path, a URI, or the opened folder.
        out: the folder of the report.  It is created if it does not exist; files of an earlier report are replaced.
            The default is `report` in the results folder, or in the working directory if `results` is a URI.
        cells: the result of `load`, if it was called already.

    Raises:
        ReportError: a file of the report cannot be written.
        sweeps.store.result_store.ResultsError: the folder is not a results folder, or cannot be read.
    """
    from analysis.figures import figures, save

    store = opened(results)
    folder = _folder(store.location) if out is None else Path(out)
    if cells is None:
        cells = load(store)
    all_tables = [*tables(cells), *crowd_tables(cells)]
    all_figures = figures(cells, load_curves(store, cells))
    comparison = published.compare(cells)
    networks = published_networks.compare_networks(cells)
    pairs = {measure.title: statistics.compare_all(cells, measure) for measure in (ACCURACY, ERROR)}

    files: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for render, name in ((to_markdown, "tables.md"), (to_latex, "tables.tex")):
            files.append(_write(folder / name, "\n".join(render(table) for table in all_tables)))
        for number, table in enumerate(all_tables, 1):
            short = table.measure.title.rpartition(" ")[2]
            files.append(_write(folder / f"table-{number:02}-{short}.csv", to_csv(table)))
        for name, figure in all_figures.items():
            for kind in ("png", "svg"):
                files.append(folder / f"{name}.{kind}")
                save(figure, files[-1])
        if len(comparison):
            files.append(_write(folder / "published.csv", comparison.to_csv(index=False)))
            parts = [published.to_markdown(comparison, measure) for measure in comparison["measure"].unique()]
            files.append(_write(folder / "published.md", "\n".join(parts)))
        if len(networks):
            files.append(_write(folder / "published-networks.csv", networks.to_csv(index=False)))
            files.append(_write(folder / "published-networks.md", published_networks.to_markdown(networks)))
        images = {name: (folder / f"{name}.png").read_bytes() for name in all_figures}
        page = _write(
            folder / PAGE, _page(store.public_location, cells, all_tables, images, comparison, networks, pairs)
        )
    except OSError as error:
        again = f"crowdml analyze {shlex.quote(store.location)}"
        raise ReportError(
            f"cannot write the report to {folder}: {error.strerror or error}; the results are safe, and `{again}` "
            "makes the report when the folder can be written"
        ) from error
    return WrittenReport(html=page, files=(page, *files), comparison=comparison, networks=networks)


def _page(
    results: str,
    cells: pd.DataFrame,
    all_tables: list[Table],
    images: dict[str, bytes],
    comparison: pd.DataFrame,
    networks: pd.DataFrame,
    pairs: dict[str, pd.DataFrame],
) -> str:
    sections = [f"<h1>{html.escape(results)}</h1>", _facts(cells), "<h2>Tables</h2>", *map(to_html, all_tables)]
    sections += ["<h2>Figures</h2>", *(_html_image(name, png) for name, png in images.items())]
    if len(comparison) or len(networks):
        sections += ["<h2>Comparison with published numbers</h2>"]
        sections += [published.to_html(comparison, measure) for measure in comparison["measure"].unique()]
        sections.append(published_networks.to_html(networks))
    sections.append("<h2>Pairs of methods, compared on the cells that both have</h2>")
    sections += [
        f"<h3>{title}, percentage points</h3>{_html_frame(frame)}" for title, frame in pairs.items() if len(frame)
    ]
    sections.append(_html_failures(cells))
    return _TEMPLATE.format(title=html.escape(f"crowdml: {results}"), body="\n".join(sections))


def _folder(results: str | Path) -> Path:
    return Path("report" if "://" in str(results) else Path(results) / "report")


def _facts(cells: pd.DataFrame) -> str:
    ok = cells[cells["status"] == "ok"]
    versions = sorted(set(cells["versions"]))
    # Without a repository, the commit can be known, but not whether the tree has changes.
    commits = cells[["git_commit", "git_dirty"]].drop_duplicates().dropna(subset="git_commit")
    facts = {
        "cells": f"{len(cells)}, {len(cells) - len(ok)} of them failed",
        "seeds": ", ".join(map(str, sorted(cells["seed"].unique()))),
        "compute": f"{cells['seconds'].sum() / 3600:.2f} process hours",
        "devices": ", ".join(sorted(set(cells["device"].dropna()))),
        "commit": ", ".join(sorted(map(_commit, commits["git_commit"], commits["git_dirty"]))),
        "versions": "; ".join(", ".join(f"{k} {v}" for k, v in json.loads(text).items()) for text in versions),
    }
    rows = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in facts.items())
    return f"<table class=facts>{rows}</table>"


def _commit(commit: str, dirty: object) -> str:
    return f"{commit[:10]}{' and uncommitted changes' if dirty is True else ''}"


def _html_image(name: str, png: bytes) -> str:
    return f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,{b64encode(png).decode()}"></p>'


def _html_frame(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, float_format="{:.3g}".format, border=0)


def _html_failures(cells: pd.DataFrame) -> str:
    failed = cells[cells["status"] == "failed"]
    if failed.empty:
        return ""
    details = "".join(_html_failure(row) for row in failed.to_dict("records"))
    return f"<h2>{len(failed)} failed cells</h2>{details}"


def _html_failure(row: dict) -> str:
    axes = ("dataset", "pattern", "noise_rate", "n_workers", "missing_rate", "method", "seed")
    name = ", ".join(f"{axis} {row[axis]}" for axis in axes)
    return f"<details><summary>{html.escape(name)}</summary><pre>{html.escape(str(row['error']))}</pre></details>"


def _write(path: Path, text: str) -> Path:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def describe(files: Iterable[Path]) -> str:
    """Return the number of files of each kind as text, such as "6 png, 2 csv"."""
    kinds = pd.Series([path.suffix.lstrip(".") for path in files]).value_counts()
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222; }}
table {{ border-collapse: collapse; margin: .5em 0 1.5em; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd; }}
.facts td, .facts th {{ text-align: left; }}
.best {{ font-weight: bold; color: #00674b; }}
.green {{ color: #00802b; }} .yellow {{ color: #a06a00; }} .red {{ color: #c4001a; font-weight: bold; }}
img {{ max-width: 100%; }} pre {{ overflow-x: auto; background: #f6f6f6; padding: 1em; }}
</style></head><body>
{body}
</body></html>
"""
