"""Tables of results with one column per method, as in the papers, in several formats.

A row is a pattern with a number of workers and a missing rate (LABNET's Tables 1 and 2), or with a noise rate.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from analysis.load import ROW_AXES, method_order, panels, row_axes, row_order, summarise

RowName = tuple[str | int | float, ...]
"""The name of a row: one entry per axis, such as (pattern, n_workers, missing_rate)."""

ROW_HEAD = ("pattern", "workers", "missing")
TERMINAL_WIDTH = 80
_HEADS = {**dict(zip(ROW_AXES, ROW_HEAD, strict=True)), "noise_rate": "noise"}
PARTIAL_PATTERNS = ("flip", "asymmetric")
"""Patterns that leave some classes without noise."""


@dataclass(frozen=True)
class Measure:
    """A column of the results that tables show in percent.

    Args:
        title: the name for readers.
        best: whether the largest or the smallest value is the best, "max" or "min".
    """

    column: str
    title: str
    best: str


# Both are over the classes that the pattern can change, as in LABNET's paper.  Only flip and asymmetric exclude some.
ACCURACY = Measure("test_accuracy_affected", "test accuracy", "max")
ERROR = Measure("aggregation_error_affected", "aggregation error", "min")


@dataclass(frozen=True, eq=False)
class Table:
    """The contents of a table, independent of the format.

    Args:
        title: what the cells have in common.
        measure: the measure in the table.
        rows: the names of the rows.
        columns: the methods, or the crowds.
        mean, std: (n_rows, n_columns) in percent; NaN without a cell; std is also NaN for one seed.
        n_seeds: the smallest and the largest number of seeds per mean.
        axes: the axes of the row names.
        best_of: whether the methods to compare are in one "row" or one "column".
    """

    title: str
    measure: Measure
    rows: tuple[RowName, ...]
    columns: tuple[str, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    n_seeds: tuple[int, int]
    axes: tuple[str, ...] = tuple(ROW_AXES)
    best_of: Literal["row", "column"] = "row"

    @property
    def head(self) -> tuple[str, ...]:
        """The titles of the columns with the names of the rows."""
        return tuple(_HEADS.get(axis, axis) for axis in self.axes)

    @property
    def best(self) -> NDArray[np.bool_]:
        """(n_rows, n_columns) bool: whether a value is the best; values that are equal as printed are all the best."""
        axis = 1 if self.best_of == "row" else 0
        if self.mean.shape[axis] < 2:
            return np.zeros(self.mean.shape, bool)
        shown = np.array([[float(f"{mean:.2f}") for mean in row] for row in self.mean])
        extreme = np.fmax if self.measure.best == "max" else np.fmin
        return shown == extreme.reduce(shown, axis=axis, keepdims=True)

    @property
    def caption(self) -> str:
        """Title, measure, unit and seeds; and the classes that count, if a pattern leaves some without noise."""
        low, high = self.n_seeds
        seeds = f"{low} seed{'s' if low > 1 else ''}" if low == high else f"{low} to {high} seeds"
        spread = "mean ± std over " if high > 1 else ""
        first = {str(row[0]).partition(" ")[0] for row in self.rows} if self.axes[0] == "pattern" else set()
        partial = "".join(f"; {pattern}: affected classes" for pattern in PARTIAL_PATTERNS if pattern in first)
        return f"{self.title}: {self.measure.title} (%), {spread}{seeds}{partial}"

    def cell(self, row: int, column: int) -> str:
        """Return the text of one entry."""
        mean, std = self.mean[row, column], self.std[row, column]
        if np.isnan(mean):
            return "-"
        return f"{mean:.2f}" if np.isnan(std) else f"{mean:.2f} ± {std:.2f}"


def tables(cells: pd.DataFrame) -> list[Table]:
    """Return a table of accuracy and a table of aggregation error for each panel of simulated workers that has them."""
    result = []
    for title, panel in panels(cells):
        result += [
            _table(title, panel, measure) for measure in (ACCURACY, ERROR) if panel[measure.column].notna().any()
        ]
    return result


def to_rich(table: Table) -> Group:
    """Return a table for the terminal, the best in bold green, split into parts of at most TERMINAL_WIDTH columns."""
    parts = [part for block in _blocks(table) for part in (_drawn(table, block), "")]
    return Group(Text(table.caption, style="bold"), "", *parts)


def terminal_table(head: Sequence[str], columns: Sequence[str]) -> RichTable:
    """Return a terminal table without rows; long names of columns are split into lines."""
    rich_table = RichTable(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for place, name in enumerate(head):
        rich_table.add_column(name, justify="right" if place else "left", vertical="bottom", overflow="fold")
    for column in columns:
        header = Text(_broken(column))
        rich_table.add_column(header, justify="right", vertical="bottom", overflow="fold")
    return rich_table


def to_markdown(table: Table) -> str:
    """Return a GitHub table, the best in bold."""
    rows = [(*row_texts(row), *_marked(table, number, "**", "**")) for number, row in enumerate(table.rows)]
    return markdown_table(table.caption, table.head, table.columns, rows)


def markdown_table(caption: str, head: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a GitHub table under a bold caption; only the first column is left-aligned."""
    header = (*head, *columns)
    lines = [header, ("---", *["---:"] * (len(header) - 1)), *rows]
    text = "".join(f"| {' | '.join(map(_escape_markdown, line))} |\n" for line in lines)
    return f"**{caption}**\n\n{text}"


def to_html(table: Table) -> str:
    """Return an HTML table; the best entries have the class `best`."""
    rows = []
    for number, (row, best) in enumerate(zip(table.rows, table.best, strict=True)):
        entries = [
            f"<td{' class=best' if won else ''}>{table.cell(number, column)}</td>" for column, won in enumerate(best)
        ]
        rows.append((row, entries))
    return html_table(table.caption, table.head, table.columns, rows)


def html_table(
    caption: str, head: Sequence[str], columns: Sequence[str], rows: Sequence[tuple[RowName, Sequence[str]]]
) -> str:
    """Return an HTML table under a heading; the entries of a row are `<td>` elements."""
    titles = "".join(f"<th>{html.escape(name)}</th>" for name in (*head, *columns))
    lines = []
    for row, entries in rows:
        names = "".join(f"<td>{html.escape(text)}</td>" for text in row_texts(row))
        lines.append(f"<tr>{names}{''.join(entries)}</tr>")
    return f"<h3>{html.escape(caption)}</h3><table><tr>{titles}</tr>{''.join(lines)}</table>"


def row_texts(row: RowName) -> tuple[str, ...]:
    """Return the texts of a row's name."""
    return tuple(f"{part:g}" if isinstance(part, float) else str(part) for part in row)


def to_latex(table: Table) -> str:
    r"""Return a LaTeX table for the booktabs package, the best in \textbf."""
    lines = [
        r"\begin{table}",
        rf"\caption{{{_latex(table.caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1 + len(table.columns))}}}",
        r"\toprule",
        " & ".join([*map(_latex, (*table.head, *table.columns))]) + r" \\",
    ]
    last = None
    for number, row in enumerate(table.rows):
        pattern, *rest = row_texts(row)
        if last is None or (pattern != last and rest):
            lines.append(r"\midrule")
        last = pattern
        entries = [text.replace("±", r"$\pm$") for text in _marked(table, number, r"\textbf{", "}")]
        lines.append(" & ".join([_latex(pattern), *rest, *entries]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Return CSV text with full precision: the axes of the rows, then a mean and a std per column of the table."""
    frame = pd.DataFrame(list(table.rows), columns=list(table.axes))
    for column, name in enumerate(table.columns):
        frame[f"{name} mean"], frame[f"{name} std"] = table.mean[:, column], table.std[:, column]
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
        columns=tuple(methods),
        mean=mean.loc[rows, methods].to_numpy(float),
        std=std.loc[rows, methods].to_numpy(float),
        n_seeds=(int(seeds.min()), int(seeds.max())),
        axes=tuple(row_axes(panel)),
    )


def _blocks(table: Table) -> list[list[int]]:
    """Split the columns into parts that fit TERMINAL_WIDTH together with the names of the rows."""
    names = zip(table.head, *map(row_texts, table.rows), strict=True)
    room = TERMINAL_WIDTH - sum(max(map(len, column)) for column in names) - len(table.head) + 1
    blocks: list[list[int]] = []
    left = 0
    for number, name in enumerate(table.columns):
        entries = [_terminal_entry(table, row, number, bold=False).plain for row in range(len(table.rows))]
        width = 1 + max(map(len, [*_broken(name).split("\n"), *entries]))
        if not blocks or width > left:
            blocks.append([])
            left = room
        blocks[-1].append(number)
        left -= width
    return blocks


def _drawn(table: Table, columns: Sequence[int]) -> RichTable:
    rich_table = terminal_table(table.head, [table.columns[column] for column in columns])
    last = None
    for number, row in enumerate(table.rows):
        pattern, *rest = row_texts(row)
        if last not in (None, pattern) and rest:
            rich_table.add_section()
        entries = [_terminal_entry(table, number, column, bold=table.best[number, column]) for column in columns]
        rich_table.add_row(Text("" if pattern == last else pattern), *rest, *entries)
        last = pattern
    return rich_table


def _broken(name: str) -> str:
    return re.sub(r"(?<=[_+:,]) ?| (?=\()", "\n", name)


def _terminal_entry(table: Table, row: int, column: int, *, bold: bool) -> Text:
    mean, std = table.mean[row, column], table.std[row, column]
    text = "-" if np.isnan(mean) else f"{mean:.2f}" if np.isnan(std) else f"{mean:.2f}±{std:.1f}"
    return Text(text, style="bold green" if bold else "")


def _marked(table: Table, row: int, before: str, after: str) -> list[str]:
    texts = [table.cell(row, column) for column in range(len(table.columns))]
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
