"""Aggregate a pandas frame in one call.

`fit_predict` has the shape that users of crowd-kit know: a frame with the columns task, worker and label goes in, a
Series of labels by task comes out.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from crowdml.aggregation.aggregator import Aggregation, Aggregator
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
    **options: Any,
) -> pd.Series:
    """One label a task.

    Args:
        frame: columns task, worker, label; one row an annotation.
        method: name of an aggregator in the registry, see `crowdml methods`.
        gold: known labels, the tasks as index.
        history: earlier answers of the workers: columns worker, truth, label, count (see `confusion_frame`).
        repeats: what to do where a worker labelled a task more than once, see CrowdLabels.
        options: the method's own, such as max_iter.

    Returns:
        The labels as `agg_label`, the tasks in sorted order as index `task`.

    Raises:
        ValueError: a name that there is not, a column that is missing, or a crowd that the method cannot take.
    """
    crowd, result = _fit(frame, method, gold, history, repeats, options)
    return pd.Series(class_names(crowd)[result.labels], index=_tasks(crowd), name="agg_label")


def fit_predict_proba(
    frame: pd.DataFrame,
    method: str = "em",
    *,
    gold: pd.Series | None = None,
    history: pd.DataFrame | None = None,
    repeats: Repeats = "keep",
    **options: Any,
) -> pd.DataFrame:
    """The probability of each label (columns) for each task (index `task`); otherwise as `fit_predict`."""
    crowd, result = _fit(frame, method, gold, history, repeats, options)
    return pd.DataFrame(result.posterior, index=_tasks(crowd), columns=pd.Index(class_names(crowd), name="label"))


def aggregator(method: str, **options: Any) -> Aggregator:
    """The aggregator of that name with those options.

    Raises:
        UnknownNameError: no such method or option, or one that trains networks.
    """
    if needs_network(method):
        raise UnknownNameError(f"method {method!r} trains networks on images; here only aggregators of labels work")
    return resolve(method, options, labels_only=True).source


def _fit(
    frame: pd.DataFrame,
    method: str,
    gold: pd.Series | None,
    history: pd.DataFrame | None,
    repeats: Repeats,
    options: dict[str, Any],
) -> tuple[CrowdLabels, Aggregation]:
    chosen = aggregator(method, **options)
    crowd = CrowdLabels.from_frame(frame, repeats=repeats)
    if gold is not None:
        crowd = with_gold(crowd, gold)
    if history is not None:
        crowd = with_history(crowd, history)
    return crowd, chosen.fit(crowd)


def _tasks(crowd: CrowdLabels) -> pd.Index:
    return pd.Index(item_names(crowd), name="task")
