"""The one training loop: every learner trains here."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crowdml.learning import parallel
from crowdml.learning.augment import augment
from crowdml.learning.base import Learner, Task, Trained
from crowdml.learning.recipe import Recipe

PREDICT_BATCH = 2048


class TrainingDivergedError(ArithmeticError):
    """The training loss became NaN or infinite."""


def train(
    learner: Learner,
    task: Task,
    target: NDArray | Tensor,
    *,
    model: nn.Module | None = None,
    items: Tensor | None = None,
    stream: int = 0,
    first_epoch: int = 0,
    evaluate: bool = True,
) -> Trained:
    """Train by SGD with momentum and a step schedule; deterministic from `task.seed` and `stream`.

    Reports "train_loss" after every epoch, and "test_accuracy" after the last and as often before as lets the training
    images outnumber the tested ones two to one, which is every epoch on the usual data sets.
    A last batch that would leave a process fewer than two items is left out, for batch normalisation needs two.

    Args:
        learner: gives the model and the loss.
        task: the images and settings.
        target: what to learn for each item, in the learner's form: (n_items,) or (n_items, n_classes).
        model: go on from this one instead of a fresh one.
        items: (n,) indices of the items to train on; by default all.
        stream: tells several trainings of one task apart, so that each has draws of its own.
        first_epoch: where the learning curves go on.
        evaluate: report the test accuracy.

    Raises:
        TrainingDivergedError: the loss is not finite; says in which epoch.
        ValueError: the target does not fit the images, or no batch has two items for each process.
    """
    recipe, device = task.recipe, task.device
    targets = _as_target(target, task)
    indices = torch.arange(len(task.images), device=device) if items is None else items.to(device)
    _check_batches(len(indices), recipe.batch_size)
    # The processes must agree on the first weights and on the order of the items, and not on what they do to images.
    shared, own = _seed(task.seed, stream), _seed(task.seed, stream, parallel.rank())
    order = torch.Generator(device).manual_seed(shared)
    draws = torch.Generator(device).manual_seed(own)
    with _seeded(shared, device):
        model = (model or learner.build(task)).to(device)
        model.to(memory_format=_memory_format(device))  # pyright: ignore[reportCallIssue]
        wrapped = parallel.wrap(model)
        torch.manual_seed(own)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(recipe.milestones), recipe.lr_decay)
        n_images, seconds = 0, 0.0
        interval = math.ceil(2 * len(task.test_images) / len(indices))
        for epoch in range(recipe.epochs):
            start = time.perf_counter()
            model.train()
            total = torch.zeros((), device=device)
            n_epoch = 0
            for batch in _batches(indices, recipe.batch_size, order):
                mine = parallel.share(batch)
                images = augment(normalise(task.images[mine], task), recipe.augment, draws)
                with _autocast(recipe, device):
                    loss = learner.loss(wrapped, images, targets[mine])
                # The processes' gradients are averaged; shares of unlike size must weigh as their items do.
                loss = loss * (len(mine) * parallel.world_size() / len(batch))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(batch) / parallel.world_size()
                n_epoch += len(batch)
            schedule.step()
            mean_loss = float(parallel.sum_over_processes(total)) / n_epoch
            parallel.agree(model)
            seconds += time.perf_counter() - start
            n_images += n_epoch
            if not math.isfinite(mean_loss):
                raise TrainingDivergedError(
                    f"the training loss is {mean_loss} in epoch {epoch + 1} of {recipe.epochs}; "
                    f"lower recipe.lr ({recipe.lr:g})"
                )
            step = first_epoch + epoch + 1
            task.report(step, "train_loss", mean_loss)
            if evaluate and ((epoch + 1) % interval == 0 or epoch + 1 == recipe.epochs):
                task.report(step, "test_accuracy", accuracy(model, task, task.test_images, task.test_labels))
    return Trained(model=model, n_images=n_images, seconds=seconds)


def predict_proba(model: nn.Module, task: Task, images: Tensor) -> Tensor:
    """(n, n_classes) float32 class probabilities of (n, channels, height, width) uint8 images."""
    model.eval()
    probabilities = torch.zeros((len(images), task.n_classes), device=task.device)
    with torch.inference_mode(), _autocast(task.recipe, task.device):
        for indices in torch.arange(len(images), device=task.device).split(PREDICT_BATCH * parallel.world_size()):
            mine = parallel.share(indices)
            if len(mine):
                probabilities[mine] = model(normalise(images[mine], task)).float().softmax(dim=1)
    return parallel.sum_over_processes(probabilities)


def accuracy(model: nn.Module, task: Task, images: Tensor, labels: Tensor) -> float:
    """Share of images whose most probable class is their label."""
    return float((predict_proba(model, task, images).argmax(dim=1) == labels).float().mean())


def normalise(images: Tensor, task: Task) -> Tensor:
    """uint8 images as floats with the training images' mean and deviation taken out."""
    scale = 1 / (255 * task.std)
    shift = task.mean / task.std
    normal = images.float() * scale[:, None, None] - shift[:, None, None]
    return normal.contiguous(memory_format=_memory_format(task.device))


def _batches(indices: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """The indices in random order, batch by batch."""
    order = indices[torch.randperm(len(indices), generator=generator, device=indices.device)]
    return (batch for batch in order.split(size) if len(batch) >= _smallest_batch())


def _check_batches(n_items: int, batch_size: int) -> None:
    needed = _smallest_batch()
    if min(n_items, batch_size) < needed:
        raise ValueError(
            f"training needs {needed} items a batch, two for each process: "
            f"recipe.batch_size is {batch_size} and there are {n_items} items"
        )


def _smallest_batch() -> int:
    return 2 * parallel.world_size()


def _as_target(target: NDArray | Tensor, task: Task) -> Tensor:
    tensor = torch.as_tensor(target, device=task.device)
    if len(tensor) != len(task.images):
        raise ValueError(f"target has {len(tensor)} rows for {len(task.images)} training images")
    return tensor.float() if tensor.is_floating_point() else tensor.long()


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def _memory_format(device: torch.device) -> torch.memory_format:
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def _autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    enabled = recipe.precision == "bfloat16" or (recipe.precision == "auto" and has_bfloat16)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global draws (initial weights, dropout) follow the seed, and are as before afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
