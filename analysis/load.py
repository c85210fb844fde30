"""Results as tidy frames, split so that nothing but seeds is ever averaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from sweeps.schema import AXES
from sweeps.store import ResultStore

PANEL_AXES = ["dataset", "n_train", "network", "recipe", "noise_rate", "worker_model", "missing"]
"""Cells that differ in one of these stand in different tables."""
ROW_AXES = ["pattern", "n_workers", "missing_rate"]
"""The rows of a LABNET table."""
PATTERN_ORDER = ("uniform", "bimodal", "flip")


def load(results: str | Path) -> pd.DataFrame:
    """One row a cell, ok and failed, every axis a column.

    Adds `method_name` and `pattern_name`: the name alone where all its cells have the same options, else with them.

    Raises:
        sweeps.store.ResultsError: not a results folder, or it cannot be read.
    """
    return with_names(ResultStore(results).read_cells())


def load_curves(results: str | Path) -> pd.DataFrame:
    """One row a point of a learning curve (`step, metric, value`), with the axes of its cell."""
    return _with_axes(results, "curves")


def load_workers(results: str | Path) -> pd.DataFrame:
    """One row a worker of a cell (`worker, true_quality, estimated_quality`), with the axes of its cell."""
    return _with_axes(results, "workers")


def with_names(cells: pd.DataFrame) -> pd.DataFrame:
    """The frame with `method_name` and `pattern_name`, see `load`."""
    named = cells.copy()
    for kind in ("method", "pattern"):
        named[f"{kind}_name"] = _names(cells[kind], cells[f"{kind}_options"])
    return named


def panels(cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(title, its ok cells) for each combination of PANEL_AXES; the title says what tells it from the others."""
    ok = cells[cells["status"] == "ok"]
    groups = list(ok.groupby(PANEL_AXES, dropna=False, sort=True))
    varying = [axis for axis in PANEL_AXES if cells[axis].nunique(dropna=False) > 1 and axis not in ("dataset", "recipe")]
    for key, group in groups:
        values = dict(zip(PANEL_AXES, key, strict=True))  # pyright: ignore[reportArgumentType]
        parts = [str(values["dataset"])]
        if not pd.isna(values["network"]):
            parts.append(str(values["network"]))
        parts.append(f"{100 * values['noise_rate']:g} % noise")
        parts += [f"{axis} {_show(values[axis])}" for axis in varying if axis not in ("network", "noise_rate")]
        parts += _recipe_differences(values["recipe"], cells["recipe"])
        yield ", ".join(parts), group


def summarise(cells: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Mean, standard deviation (n - 1; NaN of one seed) and number of seeds of a measure, for ok cells of one panel.

    Returns:
        A frame indexed by ROW_AXES and `method_name`, with columns `mean`, `std`, `n_seeds`.
    """
    named = cells.rename(columns={"pattern": "_pattern", "pattern_name": "pattern"})
    groups = named[named["status"] == "ok"].groupby([*ROW_AXES, "method_name"], sort=False)[measure]
    return groups.agg(mean="mean", std="std", n_seeds="count")


def method_order(names: list[str]) -> list[str]:
    """Methods in the order of the registry, others after them by name."""
    from crowdml.methods import REGISTRY

    order = {name: place for place, name in enumerate(REGISTRY)}
    return sorted(names, key=lambda name: (order.get(name.partition(" ")[0], len(order)), name))


def _with_axes(results: str | Path, table: str) -> pd.DataFrame:
    store = ResultStore(results)
    cells = with_names(store.read_cells())[["cell_id", *AXES, "method_name", "pattern_name"]]
    return store.read(table).drop(columns="attempt").merge(cells, on="cell_id")


def _names(kinds: pd.Series, options: pd.Series) -> pd.Series:
    several = options.groupby(kinds).nunique() > 1
    texts = [
        f"{kind} ({', '.join(f'{key}={value}' for key, value in json.loads(option).items()) or 'defaults'})"
        if several[kind]
        else kind
        for kind, option in zip(kinds, options, strict=True)
    ]
    return pd.Series(texts, index=kinds.index, dtype=object)


def _recipe_differences(recipe: str | None, recipes: pd.Series) -> list[str]:
    known = [json.loads(text) for text in recipes.dropna().unique()]
    if recipe is None or pd.isna(recipe) or len(known) < 2:
        return []
    mine = json.loads(recipe)
    return [f"{key} {value}" for key, value in mine.items() if any(other[key] != value for other in known)]


def _show(value: object) -> str:
    return "all" if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)  # pyright: ignore[reportGeneralTypeIssues,reportArgumentType]
