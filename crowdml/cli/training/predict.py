"""Predict the class of every item with a network that crowdml train has trained.

Use only networks from people whom you trust.

examples:
  crowdml predict model/ new.npy --out predictions.csv
  crowdml predict model/ photos/ --out - | head
"""

from __future__ import annotations

import argparse

from crowdml.cli.display import Console, speak, step, written
from crowdml.cli.options import add_writing, check_outputs
from crowdml.files import write_tables
from crowdml.files.writing import STDOUT


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("model", metavar="FOLDER", help="the --out folder of crowdml train")
    command.add_argument("data", metavar="DATA", help="items in the form that the network was trained on")
    command.add_argument(
        "--out", metavar="FILE", required=True, help="file for task, label, p_<class>; - for standard output"
    )
    add_writing(command)
    command.add_argument("--task-column", default="task", metavar="NAME", help="column of the tasks (default task)")
    command.add_argument("--device", default="auto", help="such as cpu, cuda, cuda:1 (default: a GPU if there is one)")


def run(options: argparse.Namespace) -> None:
    """Read the items, predict, and write the predictions."""
    # Imported here, because the help needs no torch.
    from crowdml.support.torch_device import usable_device
    from crowdml.training.results import predictions_frame
    from crowdml.training.trained_network import load_network
    from crowdml.training.user_data import ImageOptions, read_data

    check_outputs([options.out])
    network = load_network(options.model, usable_device(options.device))
    preparation = network.preparation
    images = ImageOptions(
        side=preparation.side, channels=preparation.channels, stream=preparation.streamed, layout="flat"
    )
    with step(f"reading {options.data}"):
        items = read_data(options.data, task_column=options.task_column, images=images).items
    with step("predicting"):
        probabilities = network.predict_proba(items, threads=images.threads)
    predictions = predictions_frame(items.ids, probabilities, network.classes, options.task_column)
    write_tables({options.out: predictions}, formula_safe=options.formula_safe)
    console = Console(stderr=options.out == STDOUT)
    for note in items.notes():
        speak(console, f"note: {note}")
    speak(console, f"{len(items):,} items; {written([options.out])}")
