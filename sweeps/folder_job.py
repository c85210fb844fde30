"""One training on the images of a folder, as each of its processes runs it; the first of them writes what comes out.

OUT/settings.json             what is trained; a run with other settings is refused
OUT/skipped.json              images that cannot be read, with the reasons
OUT/curves.jsonl              points of the learning curves, a line each, as they come
OUT/checkpoints/              the state that an interrupted run goes on from
OUT/weights.pt                state_dict of the trained model
OUT/predictions-train.parquet, OUT/predictions-test.parquet
OUT/metrics.json              accuracy, images per second, and everything above that is short
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from crowdml import methods
from crowdml.files import write_tables
from crowdml.learning import parallel
from crowdml.learning.evaluate import predict_members
from crowdml.learning.inputs import Inputs
from crowdml.learning.learner import Learner
from crowdml.learning.observers import ReportPoint, ignore_point
from crowdml.learning.recipe import Recipe
from crowdml.learning.supervision import supervise
from crowdml.learning.task import Task
from crowdml.learning.trainer import Trainer
from crowdml.support.device_info import describe_device
from crowdml.support.names import check_name
from crowdml.training.folders.decoding import TrainCrop
from crowdml.training.folders.layouts import FolderItems
from crowdml.training.folders.task import folder_task

SETTINGS, SKIPPED, CURVES, METRICS = "settings.json", "skipped.json", "curves.jsonl", "metrics.json"
CHECKPOINTS, WEIGHTS = "checkpoints", "weights.pt"
# Items predicted at a time: their probabilities in all classes are never all in memory.
_PREDICTED_AT_A_TIME = 32_768


@dataclass(frozen=True, kw_only=True)
class FolderJob:
    """What to train.

    Args:
        method: name of a learner of single labels.
        options: its hyper-parameters.
        network, weights: see `folder_task`.
        recipe: how it is trained.
        side, train_crop: of the images, see `folder_task`.
        seed: of all draws.
        decoders: threads of each process that decode images.
        out: folder of what comes out; every process must see it.
    """

    method: str
    options: Mapping[str, Any]
    network: str
    weights: Path | None
    recipe: Recipe
    side: int
    train_crop: TrainCrop
    seed: int
    decoders: int
    out: Path

    def settings(self) -> dict[str, Any]:
        """What decides the result, as JSON-able values."""
        return {
            "method": self.method,
            "options": dict(self.options),
            "network": self.network,
            "weights": None if self.weights is None else str(self.weights),
            "recipe": self.recipe.to_dict(),
            "side": self.side,
            "train_crop": self.train_crop,
            "seed": self.seed,
        }

    def learner(self) -> Learner:
        """The method.

        Raises:
            ValueError: it does not learn from one label an item, or has no such option.
        """
        learners = [name for name, entry in methods.REGISTRY.items() if entry.kind == "learner"]
        if self.method not in learners and ("+" in self.method or self.method in methods.REGISTRY):
            raise ValueError(
                f"a folder has one label an item, and {self.method} is a method for the annotations of several "
                f"workers; take one of {', '.join(learners)}"
            )
        check_name("method", self.method, learners)
        return methods.resolve(self.method, self.options).learner

    def task(self, items: FolderItems, *, device: str = "auto", report: ReportPoint) -> Task:
        """The task of this process."""
        return folder_task(
            items,
            network=self.network,
            recipe=self.recipe,
            seed=self.seed,
            side=self.side,
            weights=self.weights,
            train_crop=self.train_crop,
            workers=self.decoders,
            device=device,
            report=report,
            checkpoints=self.out / CHECKPOINTS,
        )


def run_job(job: FolderJob, items: FolderItems) -> dict[str, Any]:
    """Train, predict, write; returns the metrics, in every process the same but for the device.

    Args:
        job: what to train.
        items: readable, with labels.

    Raises:
        RuntimeError: this process does not see the output folder.
    """
    if not job.out.is_dir():
        raise RuntimeError(f"the folder {job.out} is not visible here; on a cluster --out must be on shared storage")
    assert items.train_labels is not None
    first = parallel.rank() == 0
    task = job.task(items, report=_Curves(job.out / CURVES) if first else ignore_point)
    trainer = Trainer(task)
    given = supervise(items.train_labels, task.n_classes, device=task.device)
    model = trainer.learn(job.learner(), given)
    metrics: dict[str, Any] = {
        "n_train": task.n_items,
        "n_test": len(items.test_paths),
        "n_processes": parallel.world_size(),
        "device": describe_device(str(task.device)),
        "n_trainings": trainer.n_trainings,
        "n_epochs": trainer.n_epochs,
        "seconds": trainer.seconds,
        "images_per_second": trainer.n_images / trainer.seconds,
    }
    train = _predict(model, task, task.inputs, np.asarray(items.train_labels))
    tables = {"train": _table(items.train_ids, "given", items.train_labels, train, items.class_names)}
    metrics["train_agreement"] = train.accuracy
    if task.test_inputs is not None and items.test_labels is not None:
        test = _predict(model, task, task.test_inputs, items.test_labels)
        metrics["test_accuracy"] = test.accuracy
        names = [path.as_posix() for path in items.test_paths]
        tables["test"] = _table(names, "truth", items.test_labels, test, items.class_names)
    if first:
        write_tables({str(job.out / f"predictions-{name}.parquet"): table for name, table in tables.items()})
        replace_file(job.out / WEIGHTS, lambda path: torch.save(model.state_dict(), path))
    return metrics


def read_curves(path: Path) -> list[list[Any]]:
    """[step, metric, value] points; where an interrupted run repeated an epoch, its last word."""
    points = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [[step, metric, value] for (step, metric), value in {(s, m): v for s, m, v in points}.items()]


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    write(partial)
    os.replace(partial, path)


@dataclass(frozen=True)
class _Curves:
    """A report that adds a line to a file."""

    path: Path

    def __call__(self, step: int, metric: str, value: float) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps([step, metric, value]) + "\n")


@dataclass(frozen=True, eq=False)
class _Predicted:
    """(n,) the most probable classes with their probabilities, and how often they are the expected ones."""

    label: np.ndarray
    probability: np.ndarray
    accuracy: float


def _predict(model: nn.Module, task: Task, inputs: Inputs, expected: np.ndarray) -> _Predicted:
    """Of several networks the class is that of their mean, and the accuracy the mean of theirs."""
    labels, probabilities, right = [], [], 0.0
    wanted = torch.as_tensor(expected, device=task.device)
    for items in torch.arange(len(inputs), device=task.device).split(_PREDICTED_AT_A_TIME):
        members = predict_members(model, task, inputs, items)
        right += float((members.argmax(dim=2) == wanted[items]).float().mean(dim=0).sum())
        best = members.mean(dim=0).max(dim=1)
        labels.append(best.indices.cpu().numpy())
        probabilities.append(best.values.cpu().numpy())
    return _Predicted(np.concatenate(labels), np.concatenate(probabilities), right / len(inputs))


def _table(
    names: Sequence[str], known: str, labels: np.ndarray, predicted: _Predicted, class_names: Sequence[str] | None
) -> pd.DataFrame:
    called = np.arange(labels.max() + 1) if class_names is None else np.array(class_names, dtype=object)
    return pd.DataFrame(
        {
            "task": names,
            known: called[labels],
            "predicted": called[predicted.label],
            "probability": predicted.probability,
        }
    )
