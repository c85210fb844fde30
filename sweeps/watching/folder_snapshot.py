"""Make a Snapshot of a results folder in which no run is at work."""

from __future__ import annotations

import pandas as pd

from crowdml.experiment.cell import COLUMNS
from sweeps.watching.best_methods import NAMING, NOTHING, PANEL, choose, method_name, panel_name, text_of
from sweeps.watching.snapshot import Best, Count, LastError, Snapshot
from sweeps.watching.tally import AXES, FOLLOWS, N_BEST, N_ERRORS, last_line


def snapshot_of_rows(rows: pd.DataFrame) -> Snapshot:
    """Return a snapshot of rows of `ResultStore.read_cells`; the grid consists of the cells that have a row.

    The panels with the most results come first.
    """
    varying = [axis for axis in AXES if _varies(rows, axis)]
    best = _best(rows, varying)
    n_ok = int((rows["status"] == "ok").sum())
    return Snapshot(
        n_cells=len(rows),
        n_done_before=n_ok,
        n_failed_before=len(rows) - n_ok,
        by_axis={axis: _counts(rows, axis) for axis in varying},
        best=tuple(best[:N_BEST]),
        n_panels=len(best),
        last_errors=_last_errors(rows),
    )


def _varies(rows: pd.DataFrame, axis: str) -> bool:
    """Return whether an axis has several values, and no other axis decides them."""
    n_values = rows[axis].nunique(dropna=False)
    other = FOLLOWS.get(axis)
    if n_values < 2 or other is None:
        return n_values > 1
    return len(rows[[other, axis]].drop_duplicates()) > rows[other].nunique(dropna=False)


def _counts(rows: pd.DataFrame, axis: str) -> dict[str, Count]:
    ok = (rows["status"] == "ok").groupby(rows[axis], dropna=False).agg(["sum", "size"])
    return {
        text_of(COLUMNS[axis].load(value)): Count(done=int(done), failed=int(total - done), total=int(total))
        for value, done, total in ok.itertuples()
    }


def _best(rows: pd.DataFrame, varying: list[str]) -> list[Best]:
    trains = rows["network"].notna()
    rows = rows.assign(measure=rows["test_accuracy"].where(trains, rows["aggregation_error"]))
    rows = rows[(rows["status"] == "ok") & rows["measure"].notna()]
    keys = rows[[*PANEL, "method", "method_options"]].astype(object)
    # pandas does not reliably group by None and NaN.
    keys = keys.where(keys.notna(), NOTHING).assign(measure=rows["measure"], row=range(len(rows)))
    means = keys.groupby([*PANEL, "method", "method_options"], sort=False).agg(
        mean=("measure", "mean"), n=("measure", "size"), row=("row", "first")
    )
    naming = [axis for axis in NAMING if axis in varying]
    with_options = "method_options" in varying
    found: list[tuple[int, Best]] = []
    for _, methods in means.groupby(list(PANEL), sort=False):
        if len(methods) < 2:
            continue
        first = rows.iloc[int(methods["row"].iloc[0])]
        by_method: dict[str, tuple[float, int]] = {}
        for mean, n, row in methods.itertuples(index=False):
            entry = rows.iloc[int(row)]
            options = COLUMNS["method_options"].load(entry["method_options"]) if with_options else ()
            by_method[method_name(entry["method"], options)] = mean, int(n)
        panel = panel_name({axis: COLUMNS[axis].load(first[axis]) for axis in naming}) or str(first["dataset"])
        best = choose(panel, by_method, trains=isinstance(first["network"], str))
        found.append((int(methods["n"].sum()), best))
    return [best for _, best in sorted(found, key=lambda entry: -entry[0])]


def _last_errors(rows: pd.DataFrame) -> tuple[LastError, ...]:
    failed = rows[rows["status"] == "failed"].sort_values("finished_at", ascending=False)[:N_ERRORS]
    return tuple(
        LastError(cell_id=cell_id, method=method, line=last_line(error or ""))
        for cell_id, method, error in zip(failed["cell_id"], failed["method"], failed["error"], strict=True)
    )
