"""CrowdClassifier: a network that learns from a crowd's labels, with the interface of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from crowdml import methods, networks
from crowdml.aggregation.aggregator import Aggregation
from crowdml.files.frames import confusion_frame, workers_frame
from crowdml.files.gold_and_history import class_names
from crowdml.labels import CrowdLabels
from crowdml.learning.observers import Observers
from crowdml.learning.recipe import Augment, InputForm, Keep, Optimizer, Precision, Recipe, Schedule, TrainingSettings
from crowdml.learning.task import make_task
from crowdml.methods.carry_out import carry_out
from crowdml.support.field_values import as_json
from crowdml.support.names import check_name
from crowdml.support.torch_device import usable_device
from crowdml.training.defaults import METHOD, NETWORK
from crowdml.training.given_labels import given_crowd
from crowdml.training.items import Items
from crowdml.training.matching import match_crowd
from crowdml.training.preparation import prepare
from crowdml.training.results import curves_frame
from crowdml.training.trained_network import TrainedNetwork, load_network

_RECIPE_FIELDS = tuple(item.name for item in fields(Recipe))


class _Fitted:
    """The attributes that `fit` sets, declared here because a dataclass makes parameters of its annotations."""

    classes_: NDArray[Any]
    n_features_in_: int
    feature_names_in_: NDArray[Any]
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
        feature_names_in_: (n_features,) the names of the columns if X is a frame whose columns have texts as names.
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

        All parameters are checked before any work; NumPy scalars are converted.

        Args:
            X: (n_items, n_features) features of any scale and offset, or (n_items, channels, height, width) uint8
                images.
            y: the labels: CrowdLabels whose items are the rows of X; a frame with the columns task (row number, from
                0), worker and label; (n_items, n_workers) class numbers from 0, with -1 or NaN where a worker gave no
                label, or texts, with None or NaN where a worker gave no label; or one label per item, (n_items,) or
                (n_items, 1).
            checkpoints: folder in which the training keeps its state, so that an interrupted `fit` can continue.

        Raises:
            ValueError: values, labels or options are not valid; the message says which.
            TypeError: X is sparse.
            TrainingDivergedError: the loss is not finite.
        """
        recipe = Recipe(**{name: getattr(self, name) for name in _RECIPE_FIELDS})
        settings = TrainingSettings(check_name("network", self.network, networks.names()), recipe, self.seed)
        method = methods.resolve(self.method, self.method_options)
        device = usable_device(self.device)
        items = self._items(X, reset=True)
        crowd = given_crowd(y, len(items), X.index if isinstance(X, pd.DataFrame) else None)
        matched = match_crowd(crowd, items)
        labelled = items.take(matched.places)
        preparation = prepare(labelled, recipe.inputs, None)
        for note in preparation.notes():
            warnings.warn(note, UserWarning, stacklevel=2)
        points: list[tuple[int, str, float]] = []
        task = make_task(
            preparation.inputs(labelled, device),
            matched.crowd.n_classes,
            settings,
            observers=Observers(
                report=lambda *point: points.append(point),
                checkpoints=None if checkpoints is None else Path(checkpoints),
            ),
        )
        task.build_network()  # so that a network that does not fit is found before a long aggregation
        result = carry_out(method, matched.crowd, task)
        self.classes_ = class_names(matched.crowd)
        self.n_features_in_ = int(np.prod(preparation.in_shape))
        self.crowd_, self.rows_, self.aggregation_ = matched.crowd, matched.places, result.aggregation
        self.workers_ = workers_frame(matched.crowd, result.aggregation)
        self.confusion_ = confusion_frame(matched.crowd, result.aggregation)
        self.curves_ = curves_frame(points)
        self.network_ = TrainedNetwork(result.model, preparation, self.classes_, device, self._settings(settings))
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return (n_items, n_classes) probabilities of the classes; rows sum to one."""
        check_is_fitted(self, "network_")
        return self.network_.predict_proba(self._items(X, reset=False))

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
        if network.preparation.columns:
            made.feature_names_in_ = np.array(network.preparation.columns, dtype=object)
        return made

    def _settings(self, settings: TrainingSettings) -> dict[str, Any]:
        return {
            "method": str(self.method),
            "network": str(self.network),
            "seed": settings.seed,
            "method_options": as_json(dict(self.method_options or {})),
            "recipe": as_json(asdict(settings.recipe)),
        }

    def _items(self, X: Any, *, reset: bool) -> Items:
        """Return X as items; check the number and the names of features against `fit` unless `reset` is set."""
        columns = ()
        if isinstance(X, pd.DataFrame):
            _check_columns(X)
            columns = tuple(map(str, X.columns))
        values: Any = X
        named = isinstance(X, pd.DataFrame) or sp.issparse(X)
        if not named:
            values = np.asarray(values.detach() if hasattr(values, "detach") else values)  # tensors may need a gradient
        if named or values.ndim != 4:
            values = validate_data(self, values, reset=reset, ensure_all_finite=False, allow_nd=True)
        return Items("X", np.arange(len(values)), values, columns=columns)


def _check_columns(frame: pd.DataFrame) -> None:
    for place, name in enumerate(frame.columns):
        column = frame.iloc[:, place]
        if pd.api.types.is_numeric_dtype(column.dtype):
            continue
        numbers = pd.to_numeric(column, errors="coerce") if column.dtype == object else None
        if numbers is None:
            raise ValueError(f"column {name!r} of X holds {column.dtype}; features must be numbers")
        texts = column[numbers.isna() & column.notna()]
        if len(texts):
            raise ValueError(f"column {name!r} of X holds {texts.iloc[0]!r}; features must be numbers")
