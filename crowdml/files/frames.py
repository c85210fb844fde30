"""Turn the result of an aggregation into pandas frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crowdml.aggregation.aggregator import Aggregation, named_classes
from crowdml.aggregation.inference import posteriors
from crowdml.aggregation.inference.confusion import given_counts
from crowdml.files.gold_and_history import class_names, item_names, worker_names
from crowdml.labels import CrowdLabels
from crowdml.support.value_text import texts

MOST_CLASSES = 1_000
"""The consensus has one column of probabilities per class up to this number of classes."""


def consensus_frame(crowd: CrowdLabels, result: Aggregation) -> pd.DataFrame:
    """Return one row per item: task, label, p_<class> for each class (the posterior), doubt.

    <class> is the text form of the class (see `crowdml.support.value_text`): p_1 for 1.0, p_true for True.
    Above MOST_CLASSES classes, one column `probability`, the largest of the posterior, replaces the columns p_<class>.
    The label is None for a tied item under ties="abstain".
    """
    names = class_names(crowd)
    columns = {"task": item_names(crowd), "label": named_classes(names, result.labels)}
    if crowd.n_classes > MOST_CLASSES:
        columns["probability"] = posteriors.largest(result.rows)
    else:
        columns |= {f"p_{name}": result.posterior[:, index] for index, name in enumerate(texts(names))}
    return pd.DataFrame(columns | {"doubt": result.doubt})


def workers_frame(crowd: CrowdLabels, result: Aggregation) -> pd.DataFrame:
    """Return one row per worker: worker, n_labels, quality and quality_se (see Aggregation).

    If the method estimates an interval of the quality, the frame also has the columns quality_low and quality_high.
    """
    frame = pd.DataFrame({"worker": worker_names(crowd), "n_labels": crowd.labels_per_worker})
    frame["quality"], frame["quality_se"] = result.worker_quality, result.worker_quality_se
    if result.worker_quality_interval is not None:
        frame[["quality_low", "quality_high"]] = result.worker_quality_interval
    return frame


def confusion_frame(crowd: CrowdLabels, result: Aggregation) -> pd.DataFrame:
    """Return one row per worker, true class and label given: worker, truth, label, probability, count.

    `count` is the expected number of such answers, including the history of the crowd.  `with_history` accepts this
    frame as the history of the next crowd.
    """
    names = class_names(crowd)
    n_classes = crowd.n_classes
    return pd.DataFrame(
        {
            "worker": np.repeat(worker_names(crowd), n_classes**2),
            "truth": np.tile(np.repeat(names, n_classes), crowd.n_workers),
            "label": np.tile(names, crowd.n_workers * n_classes),
            "probability": result.confusion.ravel(),
            "count": given_counts(crowd, result.posterior).ravel(),
        }
    )


def doubtful_labels_frame(crowd: CrowdLabels, result: Aggregation) -> pd.DataFrame:
    """Return one row per annotation, the most doubtful first: task, worker, label, consensus, p_wrong."""
    order = result.doubtful_labels(crowd)
    item, names = crowd.item[order], class_names(crowd)
    return pd.DataFrame(
        {
            "task": item_names(crowd)[item],
            "worker": worker_names(crowd)[crowd.worker[order]],
            "label": names[crowd.label[order]],
            "consensus": named_classes(names, result.labels[item]),
            "p_wrong": result.label_doubt(crowd)[order],
        }
    )
