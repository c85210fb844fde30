"""The work of `crowdml train`.  Imports torch."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crowdml import methods, networks
from crowdml.cli.display import Console, speak, step
from crowdml.cli.labels.summary import describe_crowd
from crowdml.cli.options import named_values, plain_value, read_input
from crowdml.cli.training.recipe_options import read_recipe
from crowdml.cli.training.training_progress import watch_training
from crowdml.files import read_labels
from crowdml.labels import CrowdLabels
from crowdml.learning.recipe import TrainingSettings
from crowdml.support.names import check_name
from crowdml.support.torch_device import usable_device
from crowdml.training.job import TestItems, TrainingJob, check_several_processes
from crowdml.training.matching import match_crowd, match_labels
from crowdml.training.run_folder import RunFolder, State
from crowdml.training.user_data import Data, ImageOptions, read_data
from sweeps.store.provenance import collect


def train(options: argparse.Namespace) -> None:
    """Read the data, train, write the results, and print a summary.

    Raises:
        ValueError: data, method and settings do not go together, or --out holds another run.
        OSError: a file cannot be read or written, or a worker process is lost.
    """
    console = Console()
    folder = RunFolder(Path(options.out))
    job, notes = read_job(options, folder)
    state = folder.begin(job.record(), overwrite=options.overwrite)
    if state is State.DONE:
        speak(console, f"{folder.path} holds this run, done; --overwrite computes it again")
        return
    folder.keep_skipped([job.items, *([job.test.items] if job.test else [])])
    describe_crowd(console, options.input or options.data, job.matched.crowd)
    for note in notes:
        speak(console, f"note: {note}")
    if state is State.STARTED:
        speak(console, f"continuing the run in {folder.path}")
    started = time.perf_counter()
    with watch_training(folder):
        figures = _run(job, options)
    code = collect({})
    report = {
        "settings": folder.settings(),
        **figures,
        "seconds": time.perf_counter() - started,
        "notes": [*notes, *figures["notes"]],
        "code": {"git_commit": code.git_commit, "git_dirty": code.git_dirty, "versions": dict(code.versions)},
    }
    folder.finish(report)
    _conclude(console, report, folder.path)


def read_job(options: argparse.Namespace, folder: RunFolder) -> tuple[TrainingJob, list[str]]:
    """Read the files that the options name; return the job, and notes for the user.

    Method, network and device are checked before any file is read, and the network is built once, so that mistakes are
    found before long work.
    """
    method_options = {name: plain_value(text) for name, text in named_values(options.method_options).items()}
    method = methods.resolve(options.method, method_options)
    if options.workers > 1:
        check_several_processes(method, options.method)
    else:
        usable_device(options.device)
    recipe = read_recipe(options)
    check_name("network", options.network, networks.names())
    images = ImageOptions(
        side=options.side, stream=options.stream, layout=options.layout, train_crop=options.train_crop,
        check=options.check, threads=options.cpus,
    )  # fmt: skip
    checked = folder.checked()
    with step(f"reading {options.data}"):
        data = read_data(options.data, task_column=options.task_column, images=images, checked=checked)
    matched = match_crowd(_labels(options, data), data.items)
    job = TrainingJob(
        items=data.items, matched=matched, test=None, method=options.method, method_options=method_options,
        settings=TrainingSettings(
            options.network, recipe, options.seed, None if options.weights is None else Path(options.weights)
        ),
        images=images, device=options.device, out=Path(options.out), table_format=options.format,
        task_column=options.task_column,
    )  # fmt: skip
    if options.test is not None:
        like = replace(images, channels=job.preparation.channels, layout="flat")
        with step(f"reading {options.test}"):
            items = read_data(options.test, task_column=options.task_column, images=like, checked=checked).items
        data = replace(
            data,
            test=items,
            test_labels=read_labels(
                options.test_labels, options.task_column, options.label_column, strip=options.strip
            ),
        )
    test, notes = _test_items(data, job.classes)
    job = replace(job, test=test)
    job.check()
    return job, [*data.items.notes(), *matched.notes(), *job.preparation.notes(), *notes]


def _labels(options: argparse.Namespace, data: Data) -> CrowdLabels:
    if options.input is not None:
        with step(f"reading {options.input}") as progress:
            return read_input(options, progress)
    if data.crowd is None:
        raise ValueError(f"{options.data} does not give the classes of its items; give a file of LABELS")
    return data.crowd


def _test_items(data: Data, classes: NDArray[Any]) -> tuple[TestItems | None, list[str]]:
    """Return the test items with known classes, and notes for the user."""
    if data.test is None or data.test_labels is None:
        return None, []
    truth, notes = match_labels(data.test_labels, data.test, classes)
    known = np.flatnonzero(truth >= 0)
    return TestItems(data.test.take(known), truth[known]), [*data.test.notes(), *notes]


def _run(job: TrainingJob, options: argparse.Namespace) -> dict[str, Any]:
    if options.workers == 1:
        return job.run()
    # Imported here, because a single process needs no Ray.
    from sweeps.running.data_parallel import run_in_processes

    return run_in_processes(
        job, n_processes=options.workers, cpus=options.cpus, address=options.address, max_failures=options.max_failures
    )


def _conclude(console: Console, report: Mapping[str, Any], path: Path) -> None:
    settings, n_trainings, test = report["settings"], report["n_trainings"], report["test"]
    trained = f"{n_trainings} training{'s' if n_trainings > 1 else ''}, {report['seconds']:.1f} s"
    speed = f"{report['items_per_second']:,.0f} items per second"
    speak(console, f"method          {settings['method']}, {settings['network']}, {trained}, {speed}")
    if test is not None:
        share = f"{test['accuracy']:.4f} ± {test['standard_error']:.4f}"
        speak(console, f"test accuracy   {share} on {test['n_items']:,} items")
    speak(console, f"wrote {', '.join(report['files'])} and report.json to {path}")
