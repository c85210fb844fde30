"""Find the best method so far of each panel: a set of cells that differ only in method and seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice

from crowdml.experiment.cell import COLUMNS, Cell
from sweeps.watching.snapshot import Best

PANEL = tuple(name for name in COLUMNS if name not in ("method", "method_options", "seed"))
"""The axes on which all cells of a panel agree."""
# A recipe is long, and usually follows from the data set.
NAMING = tuple(name for name in PANEL if name != "recipe")
"""The axes that name a panel, if they vary."""

NOTHING = "-"
"""The text of None and of empty options."""


class BestMethods:
    """Means over seeds, by panel and method.  The axes that vary name the panels."""

    def __init__(self, varying: Collection[str]) -> None:
        self._varying = [name for name in NAMING if name in varying]
        self._with_options = "method_options" in varying
        self._panels: dict[tuple[object, ...], dict[str, tuple[float, int]]] = {}
        # Panels with at least two methods; the panel that changed last is at the end.
        self._best: dict[tuple[object, ...], Best] = {}

    def add(self, cell: Cell, *, aggregation_error: float | None, test_accuracy: float | None) -> None:
        """Count a cell with a result; skip a cell that lacks the measure of its panel."""
        value = aggregation_error if cell.network is None else test_accuracy
        if value is None or value != value:
            return
        key = tuple(COLUMNS[name].value(cell) for name in PANEL)
        sums = self._panels.setdefault(key, {})
        method = method_name(cell.method, cell.method_options if self._with_options else ())
        total, n = sums.get(method, (0.0, 0))
        sums[method] = total + value, n + 1
        if len(sums) > 1:
            panel = panel_name({name: COLUMNS[name].value(cell) for name in self._varying}) or cell.dataset
            means = {name: (total / n, n) for name, (total, n) in sums.items()}
            self._best.pop(key, None)
            self._best[key] = choose(panel, means, trains=cell.network is not None)

    def newest(self, limit: int) -> tuple[Best, ...]:
        """Return the best methods of the panels that changed last, the newest first."""
        return tuple(islice(reversed(self._best.values()), limit))

    def __len__(self) -> int:
        """Return the number of panels in which at least two methods have results."""
        return len(self._best)


def choose(panel: str, means: Mapping[str, tuple[float, int]], *, trains: bool) -> Best:
    """Return the best method of a panel.

    Args:
        means: method -> (mean of the measure, number of seeds in the mean).
        trains: whether the measure is the test accuracy; else it is the aggregation error.
    """
    sign = -1 if trains else 1
    method = min(means, key=lambda name: sign * means[name][0])
    value, n = means[method]
    measure = "test_accuracy" if trains else "aggregation_error"
    return Best(panel=panel, method=method, measure=measure, value=value, n=n, n_methods=len(means))


def panel_name(values: Mapping[str, object]) -> str:
    """Return the values of the axes of a panel in a few words."""
    texts = {name: text_of(value) for name, value in values.items()}
    return " ".join(f"{text} {COLUMNS[name].axis.unit}".rstrip() for name, text in texts.items() if text != NOTHING)


def method_name(method: str, options: object) -> str:
    """Return the name of a method, with its options if it has any."""
    return f"{method} {text}" if (text := text_of(options)) != NOTHING else method


def text_of(value: object) -> str:
    """Return a value of an axis as people write it; options are tuples of (name, value)."""
    if value is None:
        return NOTHING
    if isinstance(value, tuple):
        texts = [
            f"{part[0]}={text_of(part[1])}" if isinstance(part, tuple) and len(part) == 2 else text_of(part)
            for part in value
        ]
        return ",".join(texts) or NOTHING
    return f"{value:g}" if isinstance(value, float) else str(value)
