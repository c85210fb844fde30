"""What `crowdml train` does.  Imports torch."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from crowdml import methods, networks
from crowdml.cli.display import speak, step
from crowdml.cli.labels.summary import describe_crowd
from crowdml.cli.options import columns_of, named_values, plain_value, read_input
from crowdml.cli.training.recipe_options import read_recipe
from crowdml.cli.training.training_progress import watch_training
from crowdml.files import read_labels, write_tables
from crowdml.files.gold_and_history import class_names
from crowdml.joint.result import JointResult
from crowdml.labels import CrowdLabels
from crowdml.learning.observers import Observers
from crowdml.learning.recipe import Recipe, TrainingSettings
from crowdml.support.device_info import describe_device
from crowdml.support.names import check_name
from crowdml.training.fitting import configured_method, fit_method, usable_device
from crowdml.training.items import Items, digest, file_state, some
from crowdml.training.matching import Matched, fingerprint, match_crowd, match_labels
from crowdml.training.preparation import Preparation, prepare
from crowdml.training.results import accuracy_report, crowd_tables, curves_frame, predictions_frame, versions
from crowdml.training.run_folder import RunFolder, State
from crowdml.training.trained_network import DESCRIPTION, PROGRAM, WEIGHTS, SavedModelError, TrainedNetwork
from crowdml.training.user_data import Data, ImageOptions, read_data


@dataclass(frozen=True, eq=False)
class Test:
    """The test items and their true classes; see `match_labels`."""

    items: Items
    truth: NDArray[np.int64]


def train(options: argparse.Namespace) -> None:
    """Read, check, train, write, and say what came of it.

    Raises:
        ValueError: the data, the method and the settings do not go together, or --out holds another run.
    """
    console = Console()
    method = configured_method(options.method, _method_options(options))
    recipe = read_recipe(options)
    check_name("network", options.network, networks.names())
    device = usable_device(options.device)
    with step(f"reading {options.data}"):
        data = read_data(options.data, task_column=options.task_column, images=_image_options(options))
    matched = match_crowd(_labels(options, data), data.items)
    notes = [*_unreadable(data.items), *matched.notes()]
    labelled = data.items.take(matched.places)
    preparation = prepare(labelled, recipe.inputs, options.side)
    test = _test(options, data, preparation, class_names(matched.crowd), notes)
    folder = RunFolder(Path(options.out))
    settings = _settings(options, recipe, preparation, data.items, matched, test)
    state = folder.begin(settings, overwrite=options.overwrite)
    if state is State.DONE:
        speak(console, f"{folder.path} holds this very run, done; --overwrite computes it anew")
        return
    describe_crowd(console, options.input or options.data, matched.crowd)
    for note in notes:
        speak(console, f"note: {note}")
    if state is State.STARTED:
        speak(console, f"going on with the run in {folder.path}")
    started = time.perf_counter()
    result = _fit(options, method, matched.crowd, labelled, preparation, recipe, device, folder, test)
    network = TrainedNetwork(result.model, preparation, class_names(matched.crowd), device, settings)
    with step("predicting"):
        probabilities = network.predict_proba(data.items)
        accuracy = None if test is None else accuracy_report(network.predict_proba(test.items), test.truth)
    files = _write(options, folder, data.items, matched.crowd, result, network, probabilities, notes)
    report = {
        "settings": settings,
        "versions": versions(),
        "device": describe_device(str(device)),
        "n_items": len(data.items),
        "n_labelled": len(labelled),
        "n_annotations": matched.crowd.n_annotations,
        "n_workers": matched.crowd.n_workers,
        "n_classes": matched.crowd.n_classes,
        "n_trainings": result.n_trainings,
        "seconds": time.perf_counter() - started,
        "test": accuracy,
        "notes": notes,
        "skipped": [{"file": file, "reason": reason} for file, reason in data.items.skipped],
        "files": files,
    }
    folder.finish(report)
    _conclude(console, report, folder.path)


def _method_options(options: argparse.Namespace) -> dict[str, Any]:
    return {name: plain_value(text) for name, text in named_values(options.method_options).items()}


def _image_options(options: argparse.Namespace) -> ImageOptions:
    return ImageOptions(options.side, None, options.stream, options.layout)


def _labels(options: argparse.Namespace, data: Data) -> CrowdLabels:
    if options.input is not None:
        with step(f"reading {options.input}") as progress:
            return read_input(options, progress)
    if data.crowd is None:
        raise ValueError(f"{options.data} says nothing of classes; give a file of LABELS")
    return data.crowd


def _unreadable(items: Items) -> list[str]:
    if not items.skipped:
        return []
    named = [f"{file}: {reason}" for file, reason in items.skipped]
    return [f"images that cannot be read, left out: {some(named)}"]


def _test(
    options: argparse.Namespace, data: Data, preparation: Preparation, classes: NDArray[Any], notes: list[str]
) -> Test | None:
    """The test items of the options, else of the folder; what there is to note of them goes to the notes."""
    items, labels = data.test, data.test_labels
    if options.test is not None:
        channels = preparation.in_shape[0] if preparation.is_images else None
        images = replace(_image_options(options), channels=channels, layout="flat")
        with step(f"reading {options.test}"):
            items = read_data(options.test, task_column=options.task_column, images=images).items
        labels = read_labels(options.test_labels, options.task_column, options.label_column)
    if items is None or labels is None:
        return None
    truth, said = match_labels(labels, items, classes)
    notes += [*_unreadable(items), *said]
    known = np.flatnonzero(truth >= 0)
    return Test(items.take(known), truth[known])


def _settings(
    options: argparse.Namespace,
    recipe: Recipe,
    preparation: Preparation,
    items: Items,
    matched: Matched,
    test: Test | None,
) -> dict[str, Any]:
    """Everything that the results depend on."""
    return {
        "method": methods.canonical(options.method),
        "method_version": methods.version(options.method),
        "method_options": _method_options(options),
        "network": options.network,
        "weights": options.weights and file_state(options.weights),
        "seed": options.seed,
        "recipe": asdict(recipe),
        "images": {"side": preparation.side, "stream": preparation.streamed},
        "data": items.fingerprint(),
        "labels": fingerprint(matched.crowd),
        "test": None if test is None else test.items.fingerprint(),
        "test_labels": None if test is None else digest(test.truth),
        "format": options.format,
    }


def _fit(
    options: argparse.Namespace,
    method: methods.Method,
    crowd: CrowdLabels,
    items: Items,
    preparation: Preparation,
    recipe: Recipe,
    device: torch.device,
    folder: RunFolder,
    test: Test | None,
) -> JointResult:
    with watch_training() as progress:

        def report(step: int, metric: str, value: float) -> None:
            folder.keep_point(step, metric, value)
            progress.report(step, metric, value)

        return fit_method(
            method,
            crowd,
            preparation.inputs(items, device),
            TrainingSettings(options.network, recipe, options.seed, options.weights and Path(options.weights)),
            test_inputs=None if test is None else preparation.inputs(test.items, device),
            test_labels=None if test is None else test.truth,
            observers=Observers(report=report, tick=progress.tick, checkpoints=folder.checkpoints),
        )


def _write(
    options: argparse.Namespace,
    folder: RunFolder,
    items: Items,
    crowd: CrowdLabels,
    result: JointResult,
    network: TrainedNetwork,
    probabilities: NDArray[np.float64],
    notes: list[str],
) -> list[str]:
    """The names of the files written; what could not be goes to the notes."""
    tables, left_out = crowd_tables(crowd, result.aggregation)
    notes += left_out
    tables["predictions"] = predictions_frame(items.ids, probabilities, network.classes, columns_of(options).task)
    tables["curves"] = curves_frame(folder.curves())
    names = {name: f"{name}.{options.format}" for name in tables}
    with step("writing"):
        write_tables({str(folder.path / names[name]): table for name, table in tables.items()})
        try:
            network.save(folder.path)
        except SavedModelError as error:
            notes.append(str(error))
            return [*names.values(), WEIGHTS]
    return [*names.values(), WEIGHTS, PROGRAM, DESCRIPTION]


def _conclude(console: Console, report: Mapping[str, Any], path: Path) -> None:
    settings = report["settings"]
    n_trainings = report["n_trainings"]
    trained = f"{n_trainings} training{'s' if n_trainings > 1 else ''}"
    speak(console, f"method          {settings['method']}, {settings['network']}, {trained}, {report['seconds']:.1f} s")
    if report["test"] is not None:
        test = report["test"]
        speak(
            console,
            f"test accuracy   {test['accuracy']:.4f} ± {test['standard_error']:.4f} on {test['n_items']:,} items",
        )
    speak(console, f"wrote {', '.join(report['files'])} and report.json to {path}")
