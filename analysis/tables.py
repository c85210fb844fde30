"""LABNET's Tables 1 and 2: one row a pattern, worker count and missing rate, one column a method."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from analysis.load import ROW_AXES, method_order, panels, row_order, summarise

Row = tuple[str, int, float]
"""Pattern, n_workers, missing_rate."""

ROW_HEAD = ("pattern", "workers", "missing")


@dataclass(frozen=True)
class Measure:
    """A column of the results that a table shows in percent.

    Args:
        column: its name.
        title: for people.
        best: which value wins a row, "max" or "min".
    """

    column: str
    title: str
    best: str


# Over the classes that the pattern can change: all of them but for flip, where the paper's numbers are over those.
ACCURACY = Measure("test_accuracy_affected", "test accuracy", "max")
ERROR = Measure("aggregation_error_affected", "aggregation error", "min")


@dataclass(frozen=True, eq=False)
class Table:
    """A table before it is drawn.

    Args:
        title: what its cells share.
        measure: what it shows.
        rows: (pattern, n_workers, missing_rate) of each row.
        methods: its columns.
        mean, std: (n_rows, n_methods) percent; NaN where there is no cell, or one seed.
        n_seeds: fewest and most seeds behind a mean.
    """

    title: str
    measure: Measure
    rows: tuple[Row, ...]
    methods: tuple[str, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    n_seeds: tuple[int, int]

    @property
    def best(self) -> NDArray[np.bool_]:
        """(n_rows, n_methods) the winners of each row, ties at the printed precision included."""
        if len(self.methods) < 2:
            return np.zeros(self.mean.shape, bool)
        shown = np.array([[float(f"{mean:.2f}") for mean in row] for row in self.mean])
        extreme = np.nanmax if self.measure.best == "max" else np.nanmin
        return shown == extreme(shown, axis=1, keepdims=True)

    @property
    def caption(self) -> str:
        """Title, measure, unit, seeds and, with flip, over which classes."""
        low, high = self.n_seeds
        seeds = f"{low} seed{'s' if low > 1 else ''}" if low == high else f"{low} to {high} seeds"
        spread = "mean ± std over " if high > 1 else ""
        flip = "; flip: affected classes" if any(pattern.startswith("flip") for pattern, _, _ in self.rows) else ""
        return f"{self.title}: {self.measure.title} (%), {spread}{seeds}{flip}"

    def cell(self, row: int, column: int) -> str:
        """The text of one entry."""
        mean, std = self.mean[row, column], self.std[row, column]
        if np.isnan(mean):
            return "-"
        return f"{mean:.2f}" if np.isnan(std) else f"{mean:.2f} ± {std:.2f}"


def tables(cells: pd.DataFrame) -> list[Table]:
    """Of each panel a table of each measure it has: accuracy, then aggregation error."""
    made = []
    for title, panel in panels(cells):
        made += [_table(title, panel, measure) for measure in (ACCURACY, ERROR) if panel[measure.column].notna().any()]
    return made


def to_rich(table: Table) -> Group:
    """For the terminal, the best of each row in bold green; five methods fit 80 columns."""
    drawn = terminal_table(table.methods)
    best, last = table.best, None
    for number, row in enumerate(table.rows):
        pattern, *rest = row_texts(row)
        if last not in (None, pattern):
            drawn.add_section()
        entries = [_terminal_entry(table, number, column, bold=won) for column, won in enumerate(best[number])]
        drawn.add_row(Text("" if pattern == last else pattern), *rest, *entries)
        last = pattern
    return Group(Text(table.caption, style="bold"), "", drawn, "")


def terminal_table(methods: Sequence[str]) -> RichTable:
    """A terminal table of ROW_AXES and methods, still without rows; long method names are broken over lines."""
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in ROW_HEAD:
        drawn.add_column(name, justify="left" if name == "pattern" else "right", vertical="bottom", overflow="fold")
    for method in methods:
        header = Text(re.sub(r"(?<=[_+:,]) ?| (?=\()", "\n", method))
        drawn.add_column(header, justify="right", vertical="bottom", overflow="fold")
    return drawn


def to_markdown(table: Table) -> str:
    """A GitHub table, the best of each row in bold."""
    rows = [(*row_texts(row), *_marked(table, number, "**", "**")) for number, row in enumerate(table.rows)]
    return markdown_table(table.caption, table.methods, rows)


def markdown_table(caption: str, methods: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table of ROW_HEAD and methods under a bold caption; all columns but the first are right-aligned."""
    header = (*ROW_HEAD, *methods)
    lines = [header, ("---", *["---:"] * (len(header) - 1)), *rows]
    text = "".join(f"| {' | '.join(map(_escape_markdown, line))} |\n" for line in lines)
    return f"**{caption}**\n\n{text}"


def to_html(table: Table) -> str:
    """An HTML table, the best of each row of class best."""
    rows = []
    for number, (row, best) in enumerate(zip(table.rows, table.best, strict=True)):
        entries = [
            f"<td{' class=best' if won else ''}>{table.cell(number, column)}</td>" for column, won in enumerate(best)
        ]
        rows.append((row, entries))
    return html_table(table.caption, table.methods, rows)


def html_table(caption: str, methods: Sequence[str], rows: Sequence[tuple[Row, Sequence[str]]]) -> str:
    """An HTML table of ROW_HEAD and methods under a heading; a row's entries are `<td>` elements."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in (*ROW_HEAD, *methods))
    lines = []
    for row, entries in rows:
        names = "".join(f"<td>{html.escape(text)}</td>" for text in row_texts(row))
        lines.append(f"<tr>{names}{''.join(entries)}</tr>")
    return f"<h3>{html.escape(caption)}</h3><table><tr>{head}</tr>{''.join(lines)}</table>"


def row_texts(row: Row) -> tuple[str, str, str]:
    """A row's name as its first entries."""
    pattern, n_workers, missing_rate = row
    return pattern, str(n_workers), f"{missing_rate:g}"


def to_latex(table: Table) -> str:
    r"""A LaTeX table that needs the booktabs package, the best of each row in \textbf."""
    lines = [
        r"\begin{table}",
        rf"\caption{{{_latex(table.caption)}}}",
        rf"\begin{{tabular}}{{lrr{'r' * len(table.methods)}}}",
        r"\toprule",
        " & ".join([*ROW_HEAD, *map(_latex, table.methods)]) + r" \\",
    ]
    last = None
    for number, row in enumerate(table.rows):
        pattern, *rest = row_texts(row)
        if pattern != last:
            lines.append(r"\midrule")
        last = pattern
        entries = [text.replace("±", r"$\pm$") for text in _marked(table, number, r"\textbf{", "}")]
        lines.append(" & ".join([_latex(pattern), *rest, *entries]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Numbers at full precision: a mean and a std column for each method."""
    frame = pd.DataFrame(list(table.rows), columns=ROW_AXES)
    for column, method in enumerate(table.methods):
        frame[f"{method} mean"], frame[f"{method} std"] = table.mean[:, column], table.std[:, column]
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False)
    return buffer.getvalue()


def _table(title: str, panel: pd.DataFrame, measure: Measure) -> Table:
    summary = summarise(panel, measure.column)
    mean, std = ((100 * summary[name]).unstack("method_name") for name in ("mean", "std"))
    rows = sorted(mean.index, key=row_order)
    methods = method_order(list(mean.columns))
    seeds = summary["n_seeds"].to_numpy(int)
    return Table(
        title=title,
        measure=measure,
        rows=tuple(rows),
        methods=tuple(methods),
        mean=mean.loc[rows, methods].to_numpy(float),
        std=std.loc[rows, methods].to_numpy(float),
        n_seeds=(int(seeds.min()), int(seeds.max())),
    )


def _terminal_entry(table: Table, row: int, column: int, *, bold: bool) -> Text:
    mean, std = table.mean[row, column], table.std[row, column]
    text = "-" if np.isnan(mean) else f"{mean:.2f}" if np.isnan(std) else f"{mean:.2f}±{std:.1f}"
    return Text(text, style="bold green" if bold else "")


def _marked(table: Table, row: int, before: str, after: str) -> list[str]:
    texts = [table.cell(row, column) for column in range(len(table.methods))]
    return [f"{before}{text}{after}" if won else text for text, won in zip(texts, table.best[row], strict=True)]


def _escape_markdown(text: str) -> str:
    return text.replace("|", r"\|")


_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "%_&#${}"},
        **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "±": r"$\pm$"},
    }
)


def _latex(text: str) -> str:
    return text.translate(_LATEX)
