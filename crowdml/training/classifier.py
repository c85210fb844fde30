"""CrowdClassifier: a network that learns from a crowd's labels, with the interface of scikit-learn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from crowdml.aggregation.aggregator import Aggregation
from crowdml.files.frames import confusion_frame, workers_frame
from crowdml.files.gold_and_history import class_names
from crowdml.labels import CrowdLabels
from crowdml.learning.observers import Observers
from crowdml.learning.recipe import Augment, InputForm, Keep, Optimizer, Precision, Recipe, Schedule, TrainingSettings
from crowdml.learning.task import make_task
from crowdml.methods.carry_out import carry_out
from crowdml.support.torch_device import usable_device
from crowdml.training.defaults import METHOD, NETWORK
from crowdml.training.items import Items
from crowdml.training.job import configured_method
from crowdml.training.matching import match_crowd
from crowdml.training.preparation import prepare
from crowdml.training.results import curves_frame
from crowdml.training.trained_network import TrainedNetwork, load_network
from crowdml.training.user_data import one_label_each

_RECIPE_FIELDS = tuple(item.name for item in fields(Recipe))


class _Fitted:
    """The attributes that `fit` sets, declared here because a dataclass makes parameters of its annotations."""

    classes_: NDArray[Any]
    n_features_in_: int
    crowd_: CrowdLabels
    rows_: NDArray[np.int64]
    aggregation_: Aggregation
    workers_: pd.DataFrame
    confusion_: pd.DataFrame
    curves_: pd.DataFrame
    network_: TrainedNetwork


@dataclass(eq=False, repr=False)
class CrowdClassifier(_Fitted, ClassifierMixin, BaseEstimator):
    """Find the labels of items that a crowd has labelled, and train a network on these labels.

    Args:
        method: name of any method that `crowdml methods` lists.
        network: name of the network, see `crowdml.networks.names()`; features need an mlp.
        method_options: options of the method.
        epochs, batch_size, lr, momentum, weight_decay, milestones, lr_decay, augment, precision, optimizer, schedule,
            decay_from, late_momentum, inputs, validation, patience, keep: see Recipe.
        seed: seed of all random draws; the same seed gives the same network on the same device.
        device: "auto" (a GPU if there is one) or the name of a torch device.

    Attributes:
        classes_: (n_classes,) the names of the classes, in the order of the columns of `predict_proba`.
        n_features_in_: number of values per item; channels * height * width for images.
        crowd_: the annotations that the network learned from; its items are the rows of X in `rows_`.
        rows_: (n_labelled,) int64 the rows of X with labels; the network trains on these rows only.
        aggregation_: the labels and the workers' quality that the method finds, see Aggregation.
        workers_, confusion_: frames about the workers, see `workers_frame` and `confusion_frame`.
        curves_: the learning curves, a frame with the columns step, metric, value.
        network_: the trained network, see TrainedNetwork.
    """

    method: str = METHOD
    network: str = NETWORK
    _: KW_ONLY
    method_options: Mapping[str, Any] | None = None
    epochs: int = 50
    batch_size: int = 64
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    milestones: tuple[int, ...] = ()
    lr_decay: float = 0.1
    augment: Augment = "none"
    precision: Precision = "auto"
    optimizer: Optimizer = "adam"
    schedule: Schedule = "step"
    decay_from: int = 0
    late_momentum: float | None = None
    inputs: InputForm = "standard"
    validation: float = 0.0
    patience: int | None = None
    keep: Keep = "last"
    seed: int = 0
    device: str = "auto"

    def fit(self, X: ArrayLike, y: CrowdLabels | pd.DataFrame | ArrayLike, *, checkpoints: Path | None = None) -> Self:
        """Find the labels and train the network.

        Args:
            X: (n_items, n_features) features or (n_items, channels, height, width) uint8 images.
            y: the labels: CrowdLabels whose items are the rows of X; a frame with the columns task (row number, from
                0), worker and label; (n_items, n_workers) whole numbers, -1 where a worker gave no label; or (n_items,)
                one label per item.
            checkpoints: folder in which the training keeps its state, so that an interrupted `fit` can continue.

        Raises:
            ValueError: values, labels or options are not valid; the message says which.
            TrainingDivergedError: the loss is not finite.
        """
        items = _items(X)
        matched = match_crowd(_crowd(y, len(items)), items)
        labelled = items.take(matched.places)
        recipe = Recipe(**{name: getattr(self, name) for name in _RECIPE_FIELDS})
        preparation = prepare(labelled, recipe.inputs, None)
        device = usable_device(self.device)
        points: list[tuple[int, str, float]] = []
        method = configured_method(self.method, self.method_options or {})
        task = make_task(
            preparation.inputs(labelled, device),
            matched.crowd.n_classes,
            TrainingSettings(self.network, recipe, self.seed),
            observers=Observers(report=lambda *point: points.append(point), checkpoints=checkpoints),
        )
        task.build_network()  # so that a network that does not fit is found before a long aggregation
        result = carry_out(method, matched.crowd, task)
        self.classes_ = class_names(matched.crowd)
        self.n_features_in_ = int(np.prod(preparation.in_shape))
        self.crowd_, self.rows_, self.aggregation_ = matched.crowd, matched.places, result.aggregation
        self.workers_ = workers_frame(matched.crowd, result.aggregation)
        self.confusion_ = confusion_frame(matched.crowd, result.aggregation)
        self.curves_ = curves_frame(points)
        self.network_ = TrainedNetwork(result.model, preparation, self.classes_, device, self._settings())
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return (n_items, n_classes) probabilities of the classes; rows sum to one."""
        check_is_fitted(self, "network_")
        return self.network_.predict_proba(_items(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return (n_items,) the most probable class of each item."""
        # Call this before reading `classes_`, so that an unfitted classifier raises scikit-learn's error.
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def save(self, folder: str | Path) -> None:
        """Write the network and the settings into a folder, for `load` and `crowdml predict`.

        Raises:
            SavedModelError: torch.export cannot express this network, or it was loaded from files.
        """
        check_is_fitted(self, "network_")
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.network_.save(Path(folder))

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> CrowdClassifier:
        """Return a fitted classifier from a folder that `save` or `crowdml train` wrote.

        Load only folders from people whom you trust.  The classifier lacks the attributes about the annotations.

        Raises:
            SavedModelError: the folder holds no trained network; the message says what is missing.
        """
        network = load_network(folder, usable_device(device))
        settings = network.settings
        options = {name: settings[name] or None for name in ("method", "network", "method_options")}
        recipe = Recipe(**settings["recipe"])
        given = {name: getattr(recipe, name) for name in _RECIPE_FIELDS}
        made = cls(**options, **given, seed=settings["seed"], device=device)
        made.network_, made.classes_ = network, network.classes
        made.n_features_in_ = int(np.prod(network.preparation.in_shape))
        return made

    def _settings(self) -> dict[str, Any]:
        settings = {name: getattr(self, name) for name in ("method", "network", "seed")}
        settings["method_options"] = dict(self.method_options or {})
        settings["recipe"] = {name: getattr(self, name) for name in _RECIPE_FIELDS}
        return json.loads(json.dumps(settings))


def _items(X: ArrayLike) -> Items:
    columns = tuple(map(str, X.columns)) if isinstance(X, pd.DataFrame) else ()
    values = np.asarray(X)
    return Items("X", np.arange(len(values) if values.ndim else 0), values, columns=columns)


def _crowd(y: CrowdLabels | pd.DataFrame | ArrayLike, n_items: int) -> CrowdLabels:
    """Return the annotations; item ids are rows of X."""
    if isinstance(y, CrowdLabels):
        if y.n_items != n_items:
            raise ValueError(f"the crowd has {y.n_items} items and X {n_items} rows")
        return replace(y, item_ids=None, repeats="keep")
    if isinstance(y, pd.DataFrame) and "task" in y:
        crowd = CrowdLabels.from_frame(y, repeats="keep")
        tasks = crowd.item_ids
        assert tasks is not None
        if not np.issubdtype(tasks.dtype, np.integer) or tasks[0] < 0 or tasks[-1] >= n_items:
            given = f"{tasks[0]} to {tasks[-1]}"
            raise ValueError(f"column task must hold row numbers of X, whole and in [0, {n_items}); it holds {given}")
        return crowd
    labels = np.asarray(y)
    if len(labels) != n_items:
        raise ValueError(f"there are {len(labels)} labels and X has {n_items} rows")
    if labels.ndim == 2:
        return CrowdLabels.from_dense(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels must be (n_items,) or (n_items, n_workers), got {labels.shape}")
    if pd.isna(labels).any():
        raise ValueError(f"label {int(pd.isna(labels).argmax())} is empty")
    index, names = pd.factorize(labels, sort=True)
    return one_label_each(index, np.arange(n_items), np.asarray(names))
