"""Results as tidy frames, split so that nothing but seeds is ever averaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from sweeps.store.result_store import ResultStore
from sweeps.store.schema import AXES

PANEL_AXES = [
    "dataset", "n_train", "network", "recipe", "noise_rate", "worker_model", "worker_options", "assignment",
    "assignment_options", "missing",
]  # fmt: skip
"""Cells that differ in one of these stand in different tables."""
ROW_AXES = ["pattern", "n_workers", "missing_rate"]
"""The rows of a LABNET table."""
NOISE_AXES = ["pattern", "noise_rate"]
"""The rows of a table of cells that differ in their noise and not in their labels: those of NNAQC or JoCoR."""
PATTERN_ORDER = ("uniform", "bimodal", "flip")
REAL = "real"
"""The pattern of cells on crowds of real workers, which stand in tables of their own."""


def load(results: str | Path) -> pd.DataFrame:
    """One row a cell, ok and failed, every axis a column; options and recipe as JSON text.

    Adds `method_name` and `pattern_name`: the name alone where all its cells have the same options, else with them.
    Where a method's version changed, so that a folder holds results of the same axes from both, the newest counts.

    Raises:
        sweeps.store.result_store.ResultsError: not a results folder, or it cannot be read.
    """
    return with_names(ResultStore(results).read_cells())


def load_curves(
    results: str | Path, cells: pd.DataFrame | None = None, *, damaged: Literal["error", "skip"] = "error"
) -> pd.DataFrame:
    """One row a point of a learning curve (`step, metric, value`), with the axes of its cell.

    Args:
        results: the folder.
        cells: what `load` gave, if it was called already.
        damaged: of ResultStore; "skip" leaves out what a damaged file held.
    """
    return _with_axes(ResultStore(results, damaged=damaged), "curves", cells)


def load_workers(
    results: str | Path, cells: pd.DataFrame | None = None, *, damaged: Literal["error", "skip"] = "error"
) -> pd.DataFrame:
    """One row a worker of a cell (`worker, true_quality, estimated_quality`), with the axes of its cell.

    Args:
        results: the folder.
        cells: what `load` gave, if it was called already.
        damaged: of ResultStore; "skip" leaves out what a damaged file held.
    """
    return _with_axes(ResultStore(results, damaged=damaged), "workers", cells)


def with_names(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of `ResultStore.read_cells` as `load` returns them."""
    named = cells.sort_values("finished_at", kind="stable").drop_duplicates(list(AXES), keep="last").sort_index()
    for kind in ("method", "pattern"):
        named[f"{kind}_name"] = _names(named[kind], named[f"{kind}_options"])
    return named


def panels(cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(title, its ok cells) for each combination of PANEL_AXES; the title says what tells it from the others.

    Where cells differ in the noise rate, and not in the number of workers or the missing rate, all rates are one panel.
    Cells on crowds of real workers are in no panel: see `analysis.real_crowds`.
    """
    ok = cells[(cells["status"] == "ok") & (cells["pattern"] != REAL)]
    for _, group in ok.groupby([axis for axis in PANEL_AXES if axis != "noise_rate"], dropna=False, sort=True):
        several_rates = group["noise_rate"].nunique() > 1
        one_kind_of_labels = len(group[["n_workers", "missing_rate"]].drop_duplicates()) == 1
        parts = [part for _, part in group.groupby("noise_rate", dropna=False)]
        for panel in [group] if several_rates and one_kind_of_labels else parts:
            same_dataset = cells[cells["dataset"] == panel["dataset"].iloc[0]]
            # Beside real crowds without a number of workers, pandas keeps the numbers of the others as floats.
            yield _title(panel, same_dataset), panel.astype({"n_workers": int})


def row_axes(panel: pd.DataFrame) -> list[str]:
    """What the rows of a panel's table differ in: ROW_AXES, or NOISE_AXES where it holds several noise rates."""
    return NOISE_AXES if panel["noise_rate"].nunique() > 1 else ROW_AXES


def summarise(panel: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Mean, standard deviation (n - 1; NaN of one seed) and number of seeds of a measure, over the ok cells of a panel.

    Returns:
        A frame indexed by `row_axes` (the pattern by its `pattern_name`) and `method_name`, with columns `mean`, `std`,
        `n_seeds`; in the measure's own unit.

    Raises:
        ValueError: the cells belong to several panels, whose mean would mean nothing.
    """
    axes = row_axes(panel)
    n_panels = len(panel[[axis for axis in PANEL_AXES if axis not in axes]].drop_duplicates())
    if n_panels > 1:
        raise ValueError(f"only cells of one panel can be averaged, got {n_panels} panels; split them with panels()")
    measured = panel[(panel["status"] == "ok") & panel[measure].notna()].assign(pattern=panel["pattern_name"])
    groups = measured.groupby([*axes, "method_name"], sort=False)[measure]
    return pd.DataFrame({"mean": groups.mean(), "std": groups.std(), "n_seeds": groups.count()})


def row_order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sort key of a row: patterns as in LABNET's paper, others after them by name, then the other axes in turn."""
    name = str(row[0]).partition(" ")[0]
    return (PATTERN_ORDER.index(name) if name in PATTERN_ORDER else len(PATTERN_ORDER), *row)


def method_order(names: list[str]) -> list[str]:
    """Methods in the order of the registry, others after them by name."""
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
    """A name with its options, of which `options` is the JSON text."""
    return f"{kind} ({', '.join(f'{key}={value}' for key, value in json.loads(options).items()) or 'defaults'})"


def _title(panel: pd.DataFrame, same_dataset: pd.DataFrame) -> str:
    """What a panel is, against the other cells of its data set."""
    cell = panel.iloc[0]
    parts = [str(cell["dataset"])]
    if pd.notna(cell["network"]):
        parts.append(str(cell["network"]))
    if panel["noise_rate"].isna().all():
        parts.append("no noise rate")
    elif panel["noise_rate"].nunique() == 1:
        parts.append(f"{100 * cell['noise_rate']:g} % noise")
    elif cell["n_workers"] > 1 or cell["missing_rate"] > 0:
        missing = f", {100 * cell['missing_rate']:g} % missing" if cell["missing_rate"] > 0 else ""
        parts.append(f"{cell['n_workers']:.0f} workers{missing}")
    varies = {axis: same_dataset[axis].nunique(dropna=False) > 1 for axis in PANEL_AXES}
    if pd.notna(cell["n_train"]):
        parts.append(f"{cell['n_train']:.0f} training items")
    elif varies["n_train"]:
        parts.append("all training items")
    if varies["worker_options"]:
        parts.append(f"{with_options(cell['worker_model'], cell['worker_options'])} workers")
    elif varies["worker_model"]:
        parts.append(f"{cell['worker_model']} workers")
    if cell["assignment"] != "every_item":
        parts.append(with_options(cell["assignment"], cell["assignment_options"]))
    if varies["missing"]:
        parts.append(f"missing rule {cell['missing']}")
    if pd.notna(cell["recipe"]):
        rivals = same_dataset.loc[same_dataset["network"] == cell["network"], "recipe"].dropna().unique()
        parts += _recipe_differences(json.loads(cell["recipe"]), [json.loads(text) for text in rivals])
    return ", ".join(parts)


def _recipe_differences(recipe: dict[str, Any], rivals: list[dict[str, Any]]) -> list[str]:
    return [f"{key} {value}" for key, value in recipe.items() if any(rival.get(key) != value for rival in rivals)]
