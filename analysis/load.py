"""Read results as tidy frames, and split them into panels so that only seeds are averaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from crowdml.experiment.cell import COLUMNS
from crowdml.experiment.crowd_types import REAL
from sweeps.store.result_store import ResultStore

AXES = list(COLUMNS)
"""The columns that describe a cell."""
PANEL_AXES = [name for name, column in COLUMNS.items() if column.axis.panel]
"""Cells that differ in one of these axes are in different tables."""
ROW_AXES = ["pattern", "n_workers", "missing_rate"]
"""The axes of the rows of a LABNET table."""
NOISE_AXES = ["pattern", "noise_rate"]
"""The axes of the rows of a table with several noise rates, as in the papers of NNAQC and JoCoR."""
PATTERN_ORDER = ("uniform", "bimodal", "flip")


Results = str | Path | ResultStore
"""A results folder: its path or URI, or the opened folder."""


def load(results: Results) -> pd.DataFrame:
    """Return one row per cell, ok and failed, with a column per axis; options and recipe are JSON text.

    Adds `method_name` and `pattern_name`.  A name includes the options if cells with this name differ in options.  If a
    folder holds results of several versions of a method for equal axes, only the newest result is returned.

    Raises:
        sweeps.store.result_store.ResultsError: the folder is not a results folder, or cannot be read.
    """
    return with_names(opened(results).read_cells())


def load_curves(results: Results, cells: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per point of a learning curve (`step, metric, value`), with the axes of the cell.

    Args:
        results: the results folder.
        cells: the result of `load`, if it was called already.
    """
    return _with_axes(opened(results), "curves", cells)


def load_workers(results: Results, cells: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per worker of a cell (`worker, true_quality, estimated_quality`), with the axes of the cell.

    The arguments are the same as the arguments of `load_curves`.
    """
    return _with_axes(opened(results), "workers", cells)


def opened(results: Results) -> ResultStore:
    """Return the opened results folder."""
    return results if isinstance(results, ResultStore) else ResultStore(results)


def with_names(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `ResultStore.read_cells` as `load` returns them."""
    named = cells.sort_values("finished_at", kind="stable").drop_duplicates(AXES, keep="last").sort_index()
    for kind in ("method", "pattern"):
        named[f"{kind}_name"] = _names(named[kind], named[f"{kind}_options"])
    return named


def panels(cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield (title, ok cells) for each combination of PANEL_AXES; the title says how the panel differs from others.

    All noise rates form one panel if the cells do not differ in the number of workers and the missing rate.  Cells of
    real workers are in no panel: see `analysis.real_crowds`.
    """
    ok = cells[(cells["status"] == "ok") & (cells["pattern"] != REAL)]
    for _, group in ok.groupby([axis for axis in PANEL_AXES if axis != "noise_rate"], dropna=False, sort=True):
        several_rates = group["noise_rate"].nunique() > 1
        one_kind_of_labels = len(group[["n_workers", "missing_rate"]].drop_duplicates()) == 1
        parts = [part for _, part in group.groupby("noise_rate", dropna=False)]
        for panel in [group] if several_rates and one_kind_of_labels else parts:
            same_dataset = cells[cells["dataset"] == panel["dataset"].iloc[0]]
            # Real crowds may have no number of workers; then pandas stores the whole column as floats.
            yield _title(panel, same_dataset), panel.astype({"n_workers": int})


def row_axes(panel: pd.DataFrame) -> list[str]:
    """Return the axes of the rows of a panel: NOISE_AXES if it holds several noise rates, else ROW_AXES."""
    return NOISE_AXES if panel["noise_rate"].nunique() > 1 else ROW_AXES


def summarise(panel: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Average a measure over the ok cells of a panel.

    Returns:
        A frame indexed by `row_axes` (the pattern by `pattern_name`) and `method_name`.  Its columns are `mean`, `std`
        (with n - 1; NaN for one seed) and `n_seeds`, in the unit of the measure.

    Raises:
        ValueError: the cells belong to several panels.
    """
    axes = row_axes(panel)
    n_panels = len(panel[[axis for axis in PANEL_AXES if axis not in axes]].drop_duplicates())
    if n_panels > 1:
        raise ValueError(f"only cells of one panel can be averaged, got {n_panels} panels; split them with panels()")
    measured = panel[(panel["status"] == "ok") & panel[measure].notna()].assign(pattern=panel["pattern_name"])
    groups = measured.groupby([*axes, "method_name"], sort=False)[measure]
    return pd.DataFrame({"mean": groups.mean(), "std": groups.std(), "n_seeds": groups.count()})


def row_order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the sort key of a row: patterns as in LABNET's paper, then other patterns by name, then the other axes."""
    name = str(row[0]).partition(" ")[0]
    return (PATTERN_ORDER.index(name) if name in PATTERN_ORDER else len(PATTERN_ORDER), *row)


def method_order(names: list[str]) -> list[str]:
    """Return methods in the order of the registry, then other methods by name."""
    from crowdml.methods.registry import REGISTRY

    order = {name: place for place, name in enumerate(REGISTRY)}
    return sorted(names, key=lambda name: (order.get(name.partition(" ")[0], len(order)), name))


def _with_axes(store: ResultStore, table: str, cells: pd.DataFrame | None) -> pd.DataFrame:
    named = with_names(store.read_cells()) if cells is None else cells
    axes = named[["cell_id", *AXES, "method_name", "pattern_name"]]
    return store.read(table).drop(columns=["attempt"]).merge(axes, on="cell_id")


def _names(kinds: pd.Series, options: pd.Series) -> pd.Series:
    several = options.groupby(kinds).nunique() > 1
    texts = [with_options(kind, option) if several[kind] else kind for kind, option in zip(kinds, options, strict=True)]
    return pd.Series(texts, index=kinds.index, dtype=object)


def with_options(kind: str, options: str) -> str:
    """Return a name with its options; `options` is JSON text."""
    return f"{kind} ({', '.join(f'{key}={value}' for key, value in json.loads(options).items()) or 'defaults'})"


def _title(panel: pd.DataFrame, same_dataset: pd.DataFrame) -> str:
    """Say how a panel differs from the other cells of its data set."""
    cell = panel.iloc[0]
    varies = {axis for axis in PANEL_AXES if same_dataset[axis].nunique(dropna=False) > 1}
    parts = [str(cell["dataset"])]
    if pd.notna(cell["network"]):
        parts.append(str(cell["network"]))
    parts += _noise(panel)
    if pd.notna(cell["n_train"]):
        parts.append(f"{cell['n_train']:.0f} training items")
    elif "n_train" in varies:
        parts.append("all training items")
    if pd.notna(cell["worker_model"]):
        if "worker_options" in varies:
            parts.append(f"{with_options(cell['worker_model'], cell['worker_options'])} workers")
        elif "worker_model" in varies:
            parts.append(f"{cell['worker_model']} workers")
    if cell["assignment"] != "every_item":
        parts.append(with_options(cell["assignment"], cell["assignment_options"]))
    if "missing" in varies:
        parts.append(f"missing rule {cell['missing']}")
    others = [axis for axis in PANEL_AXES if axis in varies and axis not in _TITLED and pd.notna(cell[axis])]
    parts += [f"{axis.replace('_', ' ')} {COLUMNS[axis].load(cell[axis])}" for axis in others]
    if pd.notna(cell["recipe"]):
        rivals = same_dataset.loc[same_dataset["network"] == cell["network"], "recipe"].dropna().unique()
        parts += _recipe_differences(json.loads(cell["recipe"]), [json.loads(text) for text in rivals])
    return ", ".join(parts)


_TITLED = {
    "dataset", "n_train", "network", "recipe", "noise_rate", "worker_model", "worker_options", "assignment",
    "assignment_options", "missing",
}  # fmt: skip
"""Axes with their own wording in a title."""


def _noise(panel: pd.DataFrame) -> list[str]:
    """Return the noise rate of a panel, or what its cells have in common if they differ in the noise rate."""
    cell = panel.iloc[0]
    if panel["noise_rate"].isna().all():
        return ["no noise rate"]
    if panel["noise_rate"].nunique() == 1:
        return [f"{100 * cell['noise_rate']:g} % noise"]
    if cell["n_workers"] > 1 or cell["missing_rate"] > 0:
        missing = f", {100 * cell['missing_rate']:g} % missing" if cell["missing_rate"] > 0 else ""
        return [f"{cell['n_workers']:.0f} workers{missing}"]
    return []


def _recipe_differences(recipe: dict[str, Any], rivals: list[dict[str, Any]]) -> list[str]:
    return [f"{key} {value}" for key, value in recipe.items() if any(rival.get(key) != value for rival in rivals)]
