"""Tables of our results next to the results of papers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from analysis.tables import RowName, html_table, markdown_table, row_texts

OursAndPaper = tuple[float, float] | None
"""Our value and the value of the paper, in percent; None if we have no cell."""


@dataclass(frozen=True)
class Sheet:
    """One table of our values and the values of a paper.

    Args:
        head: titles of the columns with the names of the rows.
        methods: titles of the other columns.
        rows: the name of each row, and a pair of values per method.
    """

    caption: str
    head: Sequence[str]
    methods: Sequence[str]
    rows: Sequence[tuple[RowName, Sequence[OursAndPaper]]]


def sheets_to_markdown(sheets: Iterable[Sheet], entry: Callable[[OursAndPaper], str]) -> str:
    """Return GitHub tables; `entry` turns a pair of values into the text of a table entry."""
    return "\n".join(
        markdown_table(
            f"{sheet.caption}: ours / paper (difference)",
            sheet.head,
            sheet.methods,
            [(*row_texts(row), *map(entry, pairs)) for row, pairs in sheet.rows],
        )
        for sheet in sheets
    )


def sheets_to_html(sheets: Iterable[Sheet], entry: Callable[[OursAndPaper], str]) -> str:
    """Return HTML tables; `entry` turns a pair of values into a `<td>` element."""
    return "\n".join(
        html_table(sheet.caption, sheet.head, sheet.methods, [(row, [*map(entry, pairs)]) for row, pairs in sheet.rows])
        for sheet in sheets
    )
