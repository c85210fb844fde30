"""Aggregate a pandas frame of annotations in one call, as in crowd-kit."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crowdml.aggregation.aggregator import Aggregator, named_classes
from crowdml.files.gold_and_history import class_names, item_names, with_gold, with_history
from crowdml.labels import CrowdLabels, Repeats
from crowdml.methods.configure import needs_network, resolve
from crowdml.support.names import UnknownNameError


def fit_predict(
    frame: pd.DataFrame,
    method: str = "em",
    *,
    gold: pd.Series | None = None,
    history: pd.DataFrame | None = None,
    repeats: Repeats = "keep",
    strip: bool = False,
    skip_empty: bool = False,
    **options: Any,
) -> pd.Series:
    """Return one label per task, as the Series `agg_label` with the sorted tasks as index `task`.

    Args:
        frame: one row per annotation, with the columns task, worker, label.
        method: name of an aggregator; `crowdml methods` lists the names.
        gold: known labels, with the tasks as index.  Types other than in `frame` are compared as text.
        history: earlier answers of the workers, with the columns worker, truth, label, count (see `confusion_frame`).
        repeats: what to do if a worker labelled a task more than once, see CrowdLabels.
        strip, skip_empty: how the frame is read, see `CrowdLabels.from_frame`.
        options: options of the method, such as max_iter, or ties="abstain", which gives a tied task no label (None).

    Raises:
        ValueError: a name is unknown, a column is missing, or the method cannot handle the crowd.
    """
    chosen = aggregator(method, **options)
    crowd = _read(frame, gold, history, {"repeats": repeats, "strip": strip, "skip_empty": skip_empty})
    result = chosen.fit(crowd)
    return pd.Series(named_classes(class_names(crowd), result.labels), index=_tasks(crowd), name="agg_label")


def fit_predict_proba(
    frame: pd.DataFrame,
    method: str = "em",
    *,
    gold: pd.Series | None = None,
    history: pd.DataFrame | None = None,
    repeats: Repeats = "keep",
    strip: bool = False,
    skip_empty: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Return the probability of each label (columns) for each task (index `task`).  See `fit_predict`."""
    chosen = aggregator(method, **options)
    crowd = _read(frame, gold, history, {"repeats": repeats, "strip": strip, "skip_empty": skip_empty})
    result = chosen.fit(crowd)
    return pd.DataFrame(result.posterior, index=_tasks(crowd), columns=pd.Index(class_names(crowd), name="label"))


def aggregator(method: str, **options: Any) -> Aggregator:
    """Return the aggregator with this name and these options.

    Raises:
        UnknownNameError: the method or an option is unknown, or the method trains networks.
    """
    if needs_network(method):
        raise UnknownNameError(f"method {method!r} trains networks on items; choose a method that needs only labels")
    return resolve(method, options, labels_only=True).source


def _read(
    frame: pd.DataFrame, gold: pd.Series | None, history: pd.DataFrame | None, how: dict[str, Any]
) -> CrowdLabels:
    crowd = CrowdLabels.from_frame(frame, **how)
    if gold is not None:
        crowd = with_gold(crowd, gold)
    return crowd if history is None else with_history(crowd, history)


def _tasks(crowd: CrowdLabels) -> pd.Index:
    return pd.Index(item_names(crowd), name="task")
