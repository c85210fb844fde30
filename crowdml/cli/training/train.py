"""`crowdml train`: a network for the user's own items, from the labels of a crowd."""

from __future__ import annotations

import argparse

from crowdml.cli.options import add_reading
from crowdml.cli.training.recipe_options import add_recipe
from crowdml.training.defaults import METHOD, NETWORK

EXAMPLES = """examples:
  crowdml train features.npy answers.csv --method em+nnaqc --out model/
  crowdml train photos/ answers.csv --side 32 --network resnet20 --method geocrowdnet_w --epochs 80 --out model/
  crowdml train train.parquet answers.parquet --test test.parquet --test-labels truth.csv --out model/
  crowdml train clothing1m/ --network resnet50 --weights resnet50.pth --side 224 --stream --method nnaqc --out model/
  crowdml predict model/ more_photos/ --out predictions.csv

Stopped in the middle, the same command goes on where it was.  In FOLDER: predictions, consensus, workers, confusion
and curves as tables, report.json, and the network (weights.pt, network.pt2, model.json)."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the parser of this command."""
    command = commands.add_parser(
        "train",
        description="Find the labels of your items and train a network on them, by any method that crowdml methods\n"
        "lists, and predict the class of every item, also of those that nobody labelled.",
        epilog=EXAMPLES,
    )
    command.set_defaults(history=None)
    command.add_argument(
        "data",
        metavar="DATA",
        help="features: .npy (row = task number), .csv, .csv.gz or .parquet with a column task; or a folder of images",
    )
    command.add_argument(
        "input",
        metavar="LABELS",
        nargs="?",
        help="a row a label: task, worker, label in .csv, .csv.gz, .jsonl or .parquet; an image's task is its path in "
        "the folder.  Not needed where the folder's layout says the labels",
    )
    command.add_argument("--out", metavar="FOLDER", required=True, help="for everything that is written")
    command.add_argument("--method", default=METHOD, metavar="NAME", help=f"see crowdml methods (default {METHOD})")
    command.add_argument(
        "--method-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="options of the method; an unknown name lists them",
    )
    command.add_argument("--network", default=NETWORK, metavar="NAME", help=f"default {NETWORK}; an unknown name lists")
    command.add_argument(
        "--weights", metavar="FILE", help="a state_dict that the network starts from, but for its last layer"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of all draws (default 0)")
    command.add_argument("--device", default="auto", help="such as cpu, cuda, cuda:1 (default: a GPU if there is one)")
    command.add_argument("--overwrite", action="store_true", help="forget what an earlier run left in --out")
    command.add_argument("--format", choices=("csv", "parquet"), default="csv", help="of the tables (default csv)")
    command.add_argument("--test", metavar="DATA", help="test items, of the same form")
    command.add_argument("--test-labels", metavar="FILE", help="their true labels: columns task, label")
    add_images(command)
    add_reading(command)
    add_recipe(command)


def run(options: argparse.Namespace) -> None:
    """Train, or go on with a training that was stopped, or say that it is done."""
    # Imported here: the other commands need no torch.
    from crowdml.cli.training.train_run import train
    from crowdml.learning.loop import TrainingDivergedError

    if (options.test is None) != (options.test_labels is None):
        raise ValueError("--test and --test-labels go together")
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative, got {options.seed}")
    try:
        train(options)
    except TrainingDivergedError as error:
        raise ValueError(str(error)) from error
    except KeyboardInterrupt:
        # Checkpoints are a minute apart.
        raise KeyboardInterrupt(
            f"stopped; the same command goes on from what {options.out} holds, at most a minute behind"
        ) from None


def add_images(command: argparse.ArgumentParser) -> None:
    """The options that say how a folder of images is read."""
    images = command.add_argument_group("images")
    images.add_argument("--side", type=int, metavar="PIXELS", help="resize images to a square (default: as they are)")
    images.add_argument("--stream", action="store_true", help="read images as they are needed, not into memory")
    images.add_argument(
        "--layout",
        choices=("auto", "flat", "imagenet", "clothing1m"),
        default="auto",
        help="of the folder: any images, train/CLASS/ and val/CLASS/, or Clothing1M's (default: as it looks)",
    )
