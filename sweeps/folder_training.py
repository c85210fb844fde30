"""Train on a folder of images, on one device or with DDP on several through Ray Train.

    python -m sweeps.folder_training clothing1m --method nnaqc --network resnet50 --weights resnet50.pth --workers 8 \\
        --out runs/clothing1m-nnaqc

Run again, the same command goes on where it was interrupted.  One worker trains in this process, by the same code.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from crowdml.cli.arguments import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_OK

from crowdml.cli.options import named_values, plain_value
from crowdml.learning.learner import ignore_report
from crowdml.learning.loop import TrainingDivergedError
from crowdml.learning.recipe import Recipe
from crowdml.support.names import check_name
from crowdml.training.folders import FolderItems, Layout, leave_out, read_layout, unreadable_images
from crowdml.training.folders.decoding import TrainCrop
from crowdml.training.folders.unreadable import Check
from sweeps.cluster import connect as ray_cluster
from sweeps.folder_job import (
    CHECKPOINTS,
    CURVES,
    METRICS,
    SETTINGS,
    SKIPPED,
    FolderJob,
    read_curves,
    replace_file,
    run_job,
)
from sweeps.store import provenance

EXIT_FAILED = 1
# Fine-tuning of a pretrained backbone on about a million images, for a few epochs, as is usual on Clothing1M.
RECIPE = {
    "epochs": 10, "batch_size": 64, "lr": 2e-3, "weight_decay": 1e-3, "milestones": (5,), "augment": "crop_flip",
}  # fmt: skip
_NAMED = 5  # unreadable images that are listed on the screen
_RAY_STATE = ".train"


class _WorkersFailedError(RuntimeError):
    """A Ray Train worker failed; the message has its traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        _main(options)
    except (ValueError, OSError, TrainingDivergedError) as error:
        print(f"folder_training: error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except _WorkersFailedError as error:
        print(f"folder_training: a worker failed; the same command goes on from here\n{error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_OK


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m sweeps.folder_training", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    command.add_argument("folder", type=Path, metavar="FOLDER")
    command.add_argument("--layout", choices=get_args(Layout), default="auto", help="of the folder (default auto)")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="shared by all machines of a cluster")
    what = command.add_argument_group("what is trained")
    what.add_argument("--method", default="base", metavar="NAME", help="a learner of single labels (default base)")
    what.add_argument("--option", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="of the method")
    what.add_argument("--network", default="resnet50", metavar="NAME", help="default resnet50")
    what.add_argument("--weights", type=Path, metavar="FILE", help="state_dict (.pth) that the network starts from")
    what.add_argument("--side", type=int, default=224, metavar="PIXELS", help="of the images (default 224)")
    what.add_argument("--train-crop", choices=get_args(TrainCrop), default="shift", help="default shift")
    what.add_argument("--seed", type=int, default=0, metavar="N")
    how = command.add_argument_group("how it is trained")
    how.add_argument("--epochs", type=int, metavar="N", help=f"default {RECIPE['epochs']}")
    how.add_argument("--batch-size", type=int, metavar="N", help=f"of all workers (default {RECIPE['batch_size']})")
    how.add_argument("--lr", type=float, metavar="X", help=f"default {RECIPE['lr']}")
    how.add_argument("--recipe", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="see Recipe")
    where = command.add_argument_group("where")
    where.add_argument("--workers", type=int, default=1, metavar="N", help="processes, a GPU each where there are some")
    where.add_argument("--cpus", type=int, metavar="N", help="of a worker (default: an even share of them)")
    where.add_argument("--address", help='Ray cluster: host:port, "auto" or "local" (default: as of full_grid)')
    where.add_argument("--max-failures", type=int, default=0, metavar="N", help="restarts after losing a worker")
    where.add_argument("--check", choices=get_args(Check), default="decode", help="of the images (default decode)")
    return command


def _main(options: argparse.Namespace) -> None:
    if options.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {options.workers}")
    machine_cpus = os.cpu_count() or 1
    cpus = options.cpus or max(1, machine_cpus // options.workers)
    job = FolderJob(
        method=options.method,
        options={name: plain_value(text) for name, text in named_values(options.option).items()},
        network=options.network,
        weights=None if options.weights is None else options.weights.resolve(),
        recipe=_recipe(options),
        side=options.side,
        train_crop=options.train_crop,
        seed=options.seed,
        decoders=cpus,
        out=options.out.resolve(),
    )
    learner = job.learner()
    if learner.one_process and options.workers > 1:
        raise ValueError(f"{job.method} keeps something for each item and trains in one process; leave out --workers")
    items = read_layout(options.folder.resolve(), options.layout)
    if items.train_labels is None:
        raise ValueError(f"{options.folder} has no labels (layout {items.layout}); see python -m crowdml train --help")
    # What does not fit fails here, before anything is written, and not in a worker.
    job.task(items, device="cpu", report=ignore_report).build_network()
    _claim(job, {"folder": str(options.folder.resolve()), "layout": items.layout, **job.settings()})
    skipped = _skipped(job.out / SKIPPED, items, machine_cpus, options.check)
    items = leave_out(items, skipped)
    print(f"{len(items.train_paths)} training and {len(items.test_paths)} test images of {options.folder}")
    if skipped:
        print(f"skipped {len(skipped)} images that cannot be read, all named in {job.out / SKIPPED}:")
        print("\n".join(f"  {path}: {reason}" for path, reason in skipped[:_NAMED]))
    print(f"learning curves come in {job.out / CURVES}", flush=True)
    metrics = _fit(job, items, options, cpus)
    metrics |= {
        "n_skipped": len(skipped),
        "settings": json.loads((job.out / SETTINGS).read_text()),
        "curves": read_curves(job.out / CURVES),
        "code": _code(),
    }
    replace_file(job.out / METRICS, lambda path: path.write_text(json.dumps(metrics, indent=1)))
    accuracy = f"test accuracy {metrics['test_accuracy']:.4f}, " if "test_accuracy" in metrics else ""
    print(f"{accuracy}{metrics['images_per_second']:.1f} images/s; results in {job.out}")


def _recipe(options: argparse.Namespace) -> Recipe:
    given: dict[str, Any] = {}
    for name, text in named_values(options.recipe).items():
        check_name("field of the recipe", name, Recipe.__dataclass_fields__)
        given[name] = text if isinstance(getattr(Recipe, name), str) else plain_value(text)
    short = {name: getattr(options, name) for name in ("epochs", "batch_size", "lr")}
    return Recipe(**{**RECIPE, **given, **{name: value for name, value in short.items() if value is not None}})


def _claim(job: FolderJob, settings: Mapping[str, Any]) -> None:
    """Make the output folder this training's own; one that never got as far as a checkpoint may be taken over.

    Raises:
        ValueError: it is another training's, or holds something else.
    """
    path = job.out / SETTINGS
    settings = json.loads(json.dumps(settings))
    before = json.loads(path.read_text()) if path.is_file() else None
    if before == settings:
        return
    if before is not None and (job.out / CHECKPOINTS).exists():
        name = next(name for name in settings if settings[name] != before.get(name))
        raise ValueError(
            f"{job.out} is of another training ({name} {before.get(name)}, now {settings[name]}); choose another --out"
        )
    if before is None and job.out.exists() and (not job.out.is_dir() or any(job.out.iterdir())):
        raise ValueError(f"{job.out} is not an empty folder, and not of a training; choose another --out")
    job.out.mkdir(parents=True, exist_ok=True)
    for name in (SKIPPED, CURVES):
        (job.out / name).unlink(missing_ok=True)
    replace_file(path, lambda partial: partial.write_text(json.dumps(settings, indent=1)))


def _skipped(path: Path, items: FolderItems, workers: int, check: Check) -> list[tuple[Path, str]]:
    """The unreadable images; looked for once, for a run that goes on must have the same items."""
    if not path.is_file():
        found = unreadable_images([*items.train_paths, *items.test_paths], workers, check=check)
        listed = json.dumps([[str(image), reason] for image, reason in found], indent=1)
        replace_file(path, lambda partial: partial.write_text(listed))
    return [(Path(image), reason) for image, reason in json.loads(path.read_text())]


def _fit(job: FolderJob, items: FolderItems, options: argparse.Namespace, cpus: int) -> dict[str, Any]:
    """Run the job in as many Ray Train workers, or through Ray Train's local mode in this process."""
    from ray import train
    from ray.train.torch import TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.WARNING)  # it would announce its local mode
    if options.workers == 1:
        config = {"job": job, "items": [items]}
        trainer = TorchTrainer(_worker, train_loop_config=config, scaling_config=train.ScalingConfig(num_workers=0))
        return trainer.fit().return_value  # pyright: ignore[reportReturnType]
    with ray_cluster.join(options.address) as joined:
        if joined is not None:
            return _fit_on(joined, job, items, options, cpus)
        with ray_cluster.start_local(data_bytes=0) as own:
            return _fit_on(own, job, items, options, cpus)


def _fit_on(
    cluster: ray_cluster.Cluster, job: FolderJob, items: FolderItems, options: argparse.Namespace, cpus: int
) -> dict[str, Any]:
    import ray
    from ray import train
    from ray.train.torch import TorchTrainer

    n_workers = options.workers
    for kind, wanted, there in (("CPUs", cpus * n_workers, cluster.cpus), ("GPUs", n_workers, cluster.gpus)):
        if wanted > there and (kind == "CPUs" or there > 0):
            raise ValueError(f"{n_workers} workers want {wanted:g} {kind} and there are {there:g}; lower --workers")
    use_gpu = cluster.gpus > 0
    state = job.out / _RAY_STATE
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job, "items": [ray.put(items)]},
        scaling_config=train.ScalingConfig(
            num_workers=n_workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": float(cpus), **({"GPU": 1.0} if use_gpu else {})},
        ),
        run_config=train.RunConfig(
            name="folder", storage_path=str(state), failure_config=train.FailureConfig(options.max_failures)
        ),
    )
    try:
        return trainer.fit().return_value  # pyright: ignore[reportReturnType]
    except train.TrainingFailedError as error:
        raise _WorkersFailedError(str(error)) from error
    finally:
        # What a run goes on from are the checkpoints of the training; Ray's own state would only confuse the next.
        shutil.rmtree(state, ignore_errors=True)


def _worker(config: dict[str, Any]) -> dict[str, Any]:
    """What every Ray Train worker runs, and this process in local mode."""
    import ray

    items = config["items"][0]
    return run_job(config["job"], ray.get(items) if isinstance(items, ray.ObjectRef) else items)


def _code() -> dict[str, Any]:
    collected = provenance.collect({})
    return {"git_commit": collected.git_commit, "git_dirty": collected.git_dirty, "versions": dict(collected.versions)}


if __name__ == "__main__":
    sys.exit(main())
