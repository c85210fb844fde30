"""TrainingJob: one training on a user's items, from matched data to written files.

The same job runs in one process, or in each of several processes that train by data parallelism.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from crowdml import methods
from crowdml.files import write_tables
from crowdml.files.gold_and_history import class_names
from crowdml.joint.joint_result import JointResult
from crowdml.learning import parallel
from crowdml.learning.observers import Observers
from crowdml.learning.recipe import TrainingSettings
from crowdml.learning.task import Task, make_task
from crowdml.methods.carry_out import carry_out
from crowdml.support.device_info import describe_device
from crowdml.support.torch_device import usable_device
from crowdml.training.items import Items, digest, file_state
from crowdml.training.matching import Matched, fingerprint
from crowdml.training.preparation import Preparation, prepare
from crowdml.training.results import accuracy_report, crowd_tables, curves_frame, predictions_frame
from crowdml.training.run_folder import RunFolder
from crowdml.training.trained_network import DESCRIPTION, PROGRAM, WEIGHTS, SavedModelError, TrainedNetwork
from crowdml.training.user_data import ImageOptions

TableFormat = Literal["csv", "parquet"]


@dataclass(frozen=True, eq=False)
class TestItems:
    """The test items with known true classes, (n_test,); n_classes stands for a class without training labels."""

    items: Items
    truth: NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingJob:
    """What is trained, on which data, and where the results go.

    Args:
        items: all items, whose classes the network predicts.
        matched: the annotations and the items that they label; the network trains on these items.
        test: the test items, or None.
        method: name of the method.
        method_options: options of the method.
        settings: network, recipe, seed and pretrained weights.
        images: how images are read.
        device: "auto" (a GPU if there is one) or the name of a torch device.
        out: the run folder, which every process must see.
        table_format: file format of the tables.
        task_column: name of the column of ids in the tables.
    """

    items: Items
    matched: Matched
    test: TestItems | None
    method: str
    method_options: Mapping[str, Any]
    settings: TrainingSettings
    images: ImageOptions
    device: str
    out: Path
    table_format: TableFormat
    task_column: str

    @cached_property
    def preparation(self) -> Preparation:
        """How items become inputs, see `prepare`.

        Raises:
            ValueError: the recipe's form of inputs does not fit the items.
        """
        return prepare(self.items.take(self.matched.places), self.settings.recipe.inputs, self.images.side)

    @property
    def classes(self) -> NDArray[Any]:
        """(n_classes,) the names of the classes."""
        return class_names(self.matched.crowd)

    def record(self) -> dict[str, Any]:
        """Return everything on which the results depend, as values for JSON."""
        settings, test, prepared = self.settings, self.test, self.preparation
        return {
            "method": methods.canonical(self.method),
            "method_version": methods.version(self.method),
            "method_options": dict(self.method_options),
            "network": settings.network,
            "weights": settings.weights and file_state(settings.weights),
            "seed": settings.seed,
            "recipe": asdict(settings.recipe),
            "images": {"side": prepared.side, "stream": prepared.streamed, "train_crop": self.images.train_crop},
            "data": self.items.fingerprint(),
            "labels": fingerprint(self.matched.crowd),
            "test": None if test is None else test.items.fingerprint(),
            "test_labels": None if test is None else digest(test.truth),
            "format": self.table_format,
        }

    def with_absolute_paths(self) -> TrainingJob:
        """Return the same job for processes that run in another folder."""
        weights = self.settings.weights
        return replace(
            self,
            items=_absolute(self.items),
            test=None if self.test is None else replace(self.test, items=_absolute(self.test.items)),
            settings=replace(self.settings, weights=weights and weights.resolve()),
            out=self.out.resolve(),
        )

    def task(self, device: torch.device, observers: Observers | None = None) -> Task:
        """Return the task of the training in this process."""
        prepared, images = self.preparation, self.images
        labelled = self.items.take(self.matched.places)
        return make_task(
            prepared.inputs(labelled, device, threads=images.threads, train_crop=images.train_crop),
            self.matched.crowd.n_classes,
            self.settings,
            test_inputs=None if self.test is None else prepared.inputs(self.test.items, device, threads=images.threads),
            test_labels=None if self.test is None else self.test.truth,
            observers=observers,
        )

    def check(self) -> None:
        """Build the network once, to find mistakes before long work.

        Raises:
            ValueError: the network does not take the items, or the pretrained weights do not fit.
            FileNotFoundError: there is no file of pretrained weights.
        """
        self.task(torch.device("cpu")).build_network()

    def run(self) -> dict[str, Any]:
        """Train, predict, and write the tables and the network; return the values of the report.

        Call `RunFolder.begin` first.  If there are several processes, only the first process writes.

        Raises:
            FileNotFoundError: this process does not see the run folder.
            ValueError: method, network and data do not fit together.
            TrainingDivergedError: the loss is not finite.
        """
        folder = RunFolder(self.out)
        if not folder.path.is_dir():
            raise FileNotFoundError(f"{self.out} is not visible on every machine; put --out on shared storage")
        first = parallel.rank() == 0
        device = usable_device(self.device)
        observers = Observers(folder.keep_point, folder.keep_share) if first else Observers()
        task = self.task(device, replace(observers, checkpoints=folder.checkpoints))
        result = carry_out(methods.resolve(self.method, self.method_options), self.matched.crowd, task)
        network = TrainedNetwork(result.model, self.preparation, self.classes, device, folder.settings())
        threads = self.images.threads
        found = network.predict_proba(self.items, threads=threads)
        of_test = None if self.test is None else network.predict_proba(self.test.items, threads=threads)
        files, notes = self._write(folder, result, network, found, of_test) if first else ([], [])
        crowd = self.matched.crowd
        labelled = found[self.matched.places].argmax(axis=1)
        return {
            "device": describe_device(str(device)),
            "n_processes": parallel.world_size(),
            "n_items": len(self.items),
            "n_labelled": task.n_items,
            "n_skipped": len(self.items.skipped),
            "n_left_out": len(self.items.left_out),
            "n_annotations": crowd.n_annotations,
            "n_workers": crowd.n_workers,
            "n_classes": crowd.n_classes,
            "n_trainings": result.n_trainings,
            "training_seconds": result.seconds,
            "items_per_second": result.n_images / result.seconds,
            "agreement": float((labelled == result.aggregation.labels).mean()),
            "test": None if self.test is None or of_test is None else accuracy_report(of_test, self.test.truth),
            "files": files,
            "notes": notes,
        }

    def _write(
        self,
        folder: RunFolder,
        result: JointResult,
        network: TrainedNetwork,
        found: NDArray[np.float64],
        of_test: NDArray[np.float64] | None,
    ) -> tuple[list[str], list[str]]:
        """Return the names of the written files, and notes about files that cannot be written."""
        tables, notes = crowd_tables(self.matched.crowd, result.aggregation)
        tables["predictions"] = predictions_frame(self.items.ids, found, self.classes, self.task_column)
        if self.test is not None and of_test is not None:
            ids = self.test.items.ids
            frame = predictions_frame(ids, of_test, self.classes, self.task_column, self.test.truth)
            tables["test_predictions"] = frame
        tables["curves"] = curves_frame(folder.curves())
        names = {name: f"{name}.{self.table_format}" for name in tables}
        write_tables({str(folder.path / names[name]): table for name, table in tables.items()})
        try:
            network.save(folder.path)
        except SavedModelError as error:
            return [*names.values(), WEIGHTS], [*notes, str(error)]
        return [*names.values(), WEIGHTS, PROGRAM, DESCRIPTION], notes


def check_several_processes(method: methods.Method, name: str) -> None:
    """Raise ValueError if a method keeps values per item, because then it cannot train in several processes."""
    learners = (method.learner, getattr(method.source, "learner", None))
    if any(getattr(learner, "one_process", False) for learner in learners):
        raise ValueError(f"{name} keeps values per item and trains in one process only; leave out --workers")


def _absolute(items: Items) -> Items:
    return replace(items, paths=tuple(path.resolve() for path in items.paths))
