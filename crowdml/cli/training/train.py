"""Find the labels of your items, train a network on them, and predict the class of every item.

The network learns by any method that crowdml methods lists.  Items that nobody labelled are predicted too.

examples:
  crowdml train features.npy answers.csv --method em+nnaqc --out model/
  crowdml train photos/ answers.csv --side 32 --network resnet20 --method geocrowdnet_w --epochs 80 --out model/
  crowdml train train.parquet answers.parquet --test test.parquet --test-labels truth.csv --out model/
  crowdml train clothing1m/ --stream --method nnaqc --network resnet50 --weights resnet50.pth --workers 8 \\
    --optimizer sgd --lr 0.002 --weight-decay 0.001 --epochs 10 --milestones 5 --augment crop_flip --out model/
  crowdml predict model/ more_photos/ --out predictions.csv

If a training is stopped, the same command goes on from its last checkpoint.  FOLDER receives the tables consensus,
workers, confusion, predictions, test_predictions and curves, the network (weights.pt, network.pt2, model.json),
skipped.json (files that are left out) and report.json.
"""

from __future__ import annotations

import argparse
import sys

from crowdml.cli.options import add_reading
from crowdml.cli.parser import positive
from crowdml.cli.training.recipe_options import add_recipe
from crowdml.support.field_values import check_seed
from crowdml.support.processors import usable_processors
from crowdml.training.defaults import METHOD, NETWORK


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.set_defaults(history=None)
    command.add_argument(
        "data", metavar="DATA",
        help="features: .npy (row = task number), or a table (.csv, .jsonl, .json, .parquet) with a column task; "
        "or a folder of images",
    )  # fmt: skip
    command.add_argument(
        "input", metavar="LABELS", nargs="?",
        help="one row per label: task, worker, label in .csv, .csv.gz, .jsonl or .parquet; the task of an image is its "
        "path in the folder, with or without its ending; not needed if the folder's layout gives the labels",
    )  # fmt: skip
    command.add_argument("--out", metavar="FOLDER", required=True, help="folder for everything that is written")
    command.add_argument("--method", default=METHOD, metavar="NAME", help=f"see crowdml methods (default {METHOD})")
    command.add_argument(
        "--method-options", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="options of the method; an unknown name lists the known ones",
    )  # fmt: skip
    command.add_argument(
        "--network", default=NETWORK, metavar="NAME", help=f"default {NETWORK}; an unknown name lists the known ones"
    )
    command.add_argument(
        "--weights", metavar="FILE", help="state_dict (.pth) that the network starts from, except for its last layer"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all random draws (default 0)")
    command.add_argument("--device", default="auto", help="such as cpu, cuda, cuda:1 (default: a GPU if there is one)")
    command.add_argument(
        "--overwrite", action="store_true", help="delete the files of an earlier run in --out, and no others"
    )
    command.add_argument(
        "--format", choices=("csv", "parquet"), default="csv", help="format of the tables (default csv)"
    )
    command.add_argument("--test", metavar="DATA", help="test items, in the same form as DATA")
    command.add_argument("--test-labels", metavar="FILE", help="true labels of the test items: columns task, label")
    _add_images(command)
    _add_processes(command)
    add_reading(command)
    add_recipe(command)


EXIT_LOST_WORKER = 1


def run(options: argparse.Namespace) -> int | None:
    """Train, or continue a stopped training, or say that the training is done.

    Returns:
        EXIT_LOST_WORKER if a worker process was lost; the same command then continues.
    """
    # Imported here, because the help needs no torch.
    from crowdml.cli.training.train_run import train
    from crowdml.learning.loop import TrainingDivergedError

    if (options.test is None) != (options.test_labels is None):
        raise ValueError("--test and --test-labels go together")
    check_seed(options.seed, "--")
    if options.cpus is None:
        options.cpus = max(1, usable_processors() // options.workers)
    if options.workers > 1 and options.device not in ("auto", "cpu"):
        raise ValueError(f"--device {options.device} names one device for {options.workers} processes; leave it out")
    try:
        train(options)
    except TrainingDivergedError as error:
        raise ValueError(str(error)) from error
    except ChildProcessError as error:
        # The input may be right, so the exit code is not the code of bad input.
        print(f"{options.program}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_LOST_WORKER
    except KeyboardInterrupt:
        # Checkpoints are written once per minute.
        raise KeyboardInterrupt(
            f"stopped; the same command continues from the last checkpoint in {options.out}, at most a minute old"
        ) from None
    return None


def _add_images(command: argparse.ArgumentParser) -> None:
    images = command.add_argument_group("images")
    images.add_argument(
        "--side", type=int, metavar="PIXELS",
        help="resize the square in the middle of each image (default: 224 with --stream, else images stay as they are)",
    )  # fmt: skip
    images.add_argument("--stream", action="store_true", help="decode images while training, not into memory")
    images.add_argument(
        "--layout", choices=("auto", "flat", "imagenet", "clothing1m"), default="auto",
        help="flat: any images; imagenet: train/CLASS/ and val/CLASS/; clothing1m: its lists (default: recognise it)",
    )  # fmt: skip
    images.add_argument(
        "--train-crop", choices=("shift", "area"), default="shift",
        help="random crops with --stream: move a square (default), or also vary its size and shape",
    )  # fmt: skip
    images.add_argument(
        "--check", choices=("decode", "header"), default="decode",
        help="check each image before a training with --stream: decode it (default), or read only its header",
    )  # fmt: skip


def _add_processes(command: argparse.ArgumentParser) -> None:
    processes = command.add_argument_group("processes")
    processes.add_argument(
        "--workers", type=positive, default=1, metavar="N",
        help="processes that train together on Ray, each with one GPU if there are GPUs (default 1)",
    )  # fmt: skip
    processes.add_argument(
        "--cpus", type=positive, metavar="N",
        help="CPUs per process, which decode streamed images (default: an equal share of this machine)",
    )  # fmt: skip
    processes.add_argument(
        "--address",
        help='Ray cluster for --workers: host:port, "auto" or "local" (default: RAY_ADDRESS, else this machine)',
    )
    processes.add_argument(
        "--max-failures", type=int, default=0, metavar="N", help="restarts after a worker is lost (default 0)"
    )
