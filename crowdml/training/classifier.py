"""CrowdClassifier: a network that learns from a crowd's labels, in scikit-learn's shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
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
from crowdml.learning.recipe import Augment, InputForm, Keep, Optimizer, Precision, Recipe, Schedule
from crowdml.training.defaults import METHOD, NETWORK
from crowdml.training.fitting import Observers, configured_method, fit_method, usable_device
from crowdml.training.items import Items
from crowdml.training.matching import match_crowd
from crowdml.training.preparation import prepare
from crowdml.training.results import curves_frame
from crowdml.training.trained_network import TrainedNetwork, load_network
from crowdml.training.user_data import one_label_each

_RECIPE_FIELDS = tuple(item.name for item in fields(Recipe))


class CrowdClassifier(ClassifierMixin, BaseEstimator):
    """Find the labels of a crowd and train a network on them, by any method of the registry.

    Args:
        method: its name, see `crowdml methods`.
        network: its name, see `crowdml.networks.names()`; features need one of the mlp.
        method_options: options of the method.
        epochs, batch_size, lr, momentum, weight_decay, milestones, lr_decay, augment, precision, optimizer, schedule,
            decay_from, late_momentum, inputs, validation, patience, keep: see Recipe.
        seed: of all draws; the same seed gives the same network on the same device.
        device: "auto" (a GPU if there is one) or a torch device's name.

    Attributes:
        classes_: (n_classes,) the classes' names, in the order of the columns of `predict_proba`.
        n_features_in_: of one item; channels * height * width for images.
        crowd_: the annotations as they were learned from; its items are the rows in `rows_`.
        rows_: (n_labelled,) int64 the rows of X that have labels; the others are not trained on.
        aggregation_: what the method concludes from the annotations, see Aggregation.
        workers_, confusion_: the report on the workers as frames, see `workers_frame` and `confusion_frame`.
        curves_: the learning curves, a frame with the columns step, metric, value.
        network_: the trained network, see TrainedNetwork.
    """

    classes_: NDArray[Any]
    n_features_in_: int
    crowd_: CrowdLabels
    rows_: NDArray[np.int64]
    aggregation_: Aggregation
    workers_: pd.DataFrame
    confusion_: pd.DataFrame
    curves_: pd.DataFrame
    network_: TrainedNetwork

    def __init__(
        self,
        method: str = METHOD,
        network: str = NETWORK,
        *,
        method_options: Mapping[str, Any] | None = None,
        epochs: int = 50,
        batch_size: int = 64,
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        milestones: tuple[int, ...] = (),
        lr_decay: float = 0.1,
        augment: Augment = "none",
        precision: Precision = "auto",
        optimizer: Optimizer = "adam",
        schedule: Schedule = "step",
        decay_from: int = 0,
        late_momentum: float | None = None,
        inputs: InputForm = "standard",
        validation: float = 0.0,
        patience: int | None = None,
        keep: Keep = "last",
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.method = method
        self.network = network
        self.method_options = method_options
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.milestones = milestones
        self.lr_decay = lr_decay
        self.augment = augment
        self.precision = precision
        self.optimizer = optimizer
        self.schedule = schedule
        self.decay_from = decay_from
        self.late_momentum = late_momentum
        self.inputs = inputs
        self.validation = validation
        self.patience = patience
        self.keep = keep
        self.seed = seed
        self.device = device

    def fit(self, X: ArrayLike, y: CrowdLabels | pd.DataFrame | ArrayLike, *, checkpoints: Path | None = None) -> Self:
        """Learn.

        Args:
            X: (n_items, n_features) features or (n_items, channels, height, width) uint8 images.
            y: the crowd: CrowdLabels whose items are the rows of X; a frame with the columns task (the row's number,
                from 0), worker and label; (n_items, n_workers) whole numbers, -1 where a worker gave no label; or
                (n_items,) one label each.
            checkpoints: a folder in which the training keeps its state, to go on after an interruption.

        Raises:
            ValueError: values, labels or options that cannot be learned from.
            TrainingDivergedError: the loss is not finite.
        """
        items = _items(X)
        matched = match_crowd(_crowd(y, len(items)), items)
        labelled = items.take(matched.places)
        recipe = Recipe(**{name: getattr(self, name) for name in _RECIPE_FIELDS})
        preparation = prepare(labelled, recipe.inputs, None)
        device = usable_device(self.device)
        points: list[tuple[int, str, float]] = []
        result = fit_method(
            configured_method(self.method, self.method_options or {}),
            matched.crowd,
            labelled,
            preparation,
            network=self.network,
            recipe=recipe,
            seed=self.seed,
            device=device,
            observers=Observers(report=lambda *point: points.append(point), checkpoints=checkpoints),
        )
        self.classes_ = class_names(matched.crowd)
        self.n_features_in_ = int(np.prod(preparation.in_shape))
        self.crowd_, self.rows_, self.aggregation_ = matched.crowd, matched.places, result.aggregation
        self.workers_ = workers_frame(matched.crowd, result.aggregation)
        self.confusion_ = confusion_frame(matched.crowd, result.aggregation)
        self.curves_ = curves_frame(points)
        self.network_ = TrainedNetwork(result.model, preparation, self.classes_, device, self._settings())
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """(n_items, n_classes) the network's probabilities; rows sum to one."""
        check_is_fitted(self, "network_")
        return self.network_.predict_proba(_items(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """(n_items,) the most probable class of each item."""
        # First, for the sake of the message, whether there are classes at all.
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def save(self, folder: str | Path) -> None:
        """Write the network and the settings into a folder, from which `load` and `crowdml predict` read them.

        Raises:
            SavedModelError: there is no form for this network, or it was loaded from files.
        """
        check_is_fitted(self, "network_")
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.network_.save(Path(folder))

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> CrowdClassifier:
        """A classifier that predicts, from what `save` or `crowdml train` wrote; take only folders that you trust.

        What was learned of the workers stays where it was written.

        Raises:
            SavedModelError: the folder holds no trained network; says what is missing.
        """
        network = load_network(folder, usable_device(device))
        settings = network.settings
        options = {name: settings[name] for name in ("method", "network", "seed")}
        options["method_options"] = settings["method_options"] or None
        recipe = Recipe(**settings["recipe"])
        made = cls(**options, **{name: getattr(recipe, name) for name in _RECIPE_FIELDS}, device=device)
        made.network_, made.classes_ = network, network.classes
        made.n_features_in_ = int(np.prod(network.preparation.in_shape))
        return made

    def _settings(self) -> dict[str, Any]:
        recipe = {name: getattr(self, name) for name in _RECIPE_FIELDS}
        settings = {
            "method": self.method,
            "network": self.network,
            "method_options": dict(self.method_options or {}),
            "seed": self.seed,
            "recipe": recipe,
        }
        return json.loads(json.dumps(settings))


def _items(X: ArrayLike) -> Items:
    columns = tuple(map(str, X.columns)) if isinstance(X, pd.DataFrame) else ()
    values = np.asarray(X)
    return Items("X", np.arange(len(values) if values.ndim else 0), values, columns=columns)


def _crowd(y: CrowdLabels | pd.DataFrame | ArrayLike, n_items: int) -> CrowdLabels:
    """The annotations, their item ids being the rows of X."""
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
