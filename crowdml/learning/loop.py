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
) -> Trained:
    """Train by SGD with momentum and a step schedule; deterministic from `task.seed` and `stream`.

    A last batch that would leave a process fewer than two items is left out, for batch normalisation needs two.

    Args:
        learner: gives the model and the loss.
        task: the images and settings.
        target: what to learn for each item, in the learner's form: (n_items,) or (n_items, n_classes).
        model: go on from this one instead of a fresh one.
        items: (n,) indices of the items to train on; by default all.
        stream: tells several trainings of one task apart, so that each has draws of its own.
        first_epoch: where the learning curves go on.

    Raises:
        TrainingDivergedError: the loss is not finite; says in which epoch.
    """
    recipe, device = task.recipe, task.device
    seed = int(np.random.SeedSequence([task.seed, stream]).generate_state(1, np.uint64)[0] >> 1)
    generator = torch.Generator(device).manual_seed(seed)
    targets = _as_target(target, device)
    indices = torch.arange(len(task.images), device=device) if items is None else items.to(device)
    with _seeded(seed, device):
        model = learner.build(task) if model is None else model
        model = model.to(device, memory_format=_memory_format(device))
        wrapped = parallel.wrap(model)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(recipe.milestones), recipe.lr_decay)
        n_images, seconds = 0, 0.0
        for epoch in range(recipe.epochs):
            start = time.perf_counter()
            model.train()
            total = torch.zeros((), device=device)
            n_epoch = 0
            for batch in _batches(indices, recipe.batch_size, generator):
                mine = parallel.share(batch)
                images = augment(normalise(task.images[mine], task), recipe.augment, generator)
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
            mean_loss = float(parallel.sum_over_processes(total)) / max(n_epoch, 1)
            seconds += time.perf_counter() - start
            n_images += n_epoch
            if not math.isfinite(mean_loss):
                raise TrainingDivergedError(
                    f"the training loss is {mean_loss} in epoch {epoch + 1} of {recipe.epochs}; lower recipe.lr ({recipe.lr:g})"
                )
            step = first_epoch + epoch + 1
            task.report(step, "train_loss", mean_loss)
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
    smallest = 2 * parallel.world_size()
    return (batch for batch in order.split(size) if len(batch) >= smallest)


def _as_target(target: NDArray | Tensor, device: torch.device) -> Tensor:
    tensor = torch.as_tensor(target, device=device)
    return tensor.float() if tensor.is_floating_point() else tensor.long()


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
