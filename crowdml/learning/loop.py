"""The training loop that trains every learner."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crowdml.learning import parallel
from crowdml.learning.batch import Batch, Epoch
from crowdml.learning.checkpoint import Checkpoint, CheckpointMismatchError, copy_of
from crowdml.learning.evaluate import accuracies, autocast
from crowdml.learning.held_out import hold_out
from crowdml.learning.learner import Learner, LossTerms
from crowdml.learning.optimise import RateSchedule, make_optimizer
from crowdml.learning.step_log import StepLog
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task


class TrainingDivergedError(ArithmeticError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True, eq=False)
class TrainingOutcome:
    """A trained model and the cost of its training.

    Attributes:
        model: maps normalised inputs to logits.
        n_images: training inputs seen, summed over all epochs.
        n_epochs: number of finished epochs, fewer than in the recipe after early stopping.
        seconds: wall seconds of the training without evaluation, including the time before an interruption.
    """

    model: nn.Module
    n_images: int
    n_epochs: int
    seconds: float


def train(
    learner: Learner,
    task: Task,
    given: Supervision,
    *,
    model: nn.Module | None = None,
    items: Tensor | None = None,
    stream: int = 0,
    first_epoch: int = 0,
    evaluate: bool = True,
    checkpoint: Checkpoint | None = None,
) -> TrainingOutcome:
    """Train the model of a learner by the recipe of the task.

    The result depends only on the arguments and on the seed of the task.  Every epoch has its own seed, so a training
    that continues from a checkpoint gives the same model as an uninterrupted one.

    After every epoch the loop reports "train_loss", each term of the loss as "train_<term>" if there are several, and
    "validation_loss" if items are held out.  It reports the test accuracy after the last epoch and after every k-th
    epoch.  k is the smallest number for which k epochs have at least twice as many inputs as the test; on common data
    sets it is 1.

    The last batch of an epoch is left out if it has fewer than two items per process, because batch normalisation
    needs two.

    Args:
        learner: gives the model and the loss.
        task: inputs, settings and observers.
        given: supervision of all training items.
        model: model to continue from; None starts from a fresh model.
        items: (n,) indices of the items to train on; by default all.
        stream: number of the training within the task, so that each training has its own random draws.
        first_epoch: number of epochs that the learning curves already contain.
        evaluate: report the test accuracy.
        checkpoint: where the state is written, and where it is read from if the file exists.

    Raises:
        TrainingDivergedError: the loss is not finite; the message names epoch, step and term.
        CheckpointMismatchError: the checkpoint belongs to another training.
        ValueError: the supervision does not fit the inputs, a batch has fewer than two items per process, or the
            learner cannot be trained in several processes.
    """
    if len(given.labels) != task.n_items:
        raise ValueError(f"there are labels for {len(given.labels)} items, but inputs for {task.n_items}")
    if learner.one_process and parallel.world_size() > 1:
        name = type(learner).__name__
        raise ValueError(f"{name} stores values per item, so it must be trained in one process; use one worker")
    on_gpu = task.device.type == "cuda"
    with torch.random.fork_rng([task.device] if on_gpu else []):
        torch.manual_seed(seed_of(task.settings.seed, stream))  # initial weights and dropout
        fresh = (learner.build(task, given) if model is None else model).to(task.device)
        memory_format = torch.channels_last if on_gpu else torch.contiguous_format
        fresh.to(memory_format=memory_format)  # pyright: ignore[reportCallIssue]
        training = _Training(learner, task, given, fresh, items, stream)
        training.run(first_epoch, evaluate, checkpoint)
    return TrainingOutcome(fresh, training.n_images, training.epoch, training.seconds)


class _Loss(nn.Module):
    """A learner's loss as a module, so that data parallelism sees every parameter that the loss uses."""

    def __init__(self, learner: Learner, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._learner = learner

    def forward(self, batch: Batch) -> LossTerms:
        return self._learner.loss(self.model, batch)


class _Training:
    def __init__(
        self, learner: Learner, task: Task, given: Supervision, model: nn.Module, items: Tensor | None, stream: int
    ) -> None:
        recipe, chosen = task.settings.recipe, task.indices(items)
        self._items, self._held_out = hold_out(chosen, given.labels, recipe.validation, task.settings.seed)
        n_items, size, needed = len(self._items), recipe.batch_size, _smallest_batch()
        if min(n_items, size) < needed:
            raise ValueError(
                f"training needs at least {needed} items per batch, two per process, but recipe.batch_size is {size} "
                f"and there are {n_items} items"
            )
        self._learner, self._task, self._given, self._model, self._stream = learner, task, given, model, stream
        self._loss = parallel.wrap(_Loss(learner, model))
        self._optimizer = make_optimizer(recipe, learner.parameter_groups(model, recipe))
        self._schedule = RateSchedule(recipe, self._optimizer, n_items // size + (n_items % size >= needed))
        self.epoch = self.n_images = 0
        self.seconds = 0.0
        self._best_loss, self._best_epoch = math.inf, 0
        self._best: dict[str, Tensor] | None = None

    def run(self, first_epoch: int, evaluate: bool, checkpoint: Checkpoint | None) -> None:
        """Train to the end, starting from the checkpoint if its file exists."""
        recipe, task = self._task.settings.recipe, self._task
        done = checkpoint is not None and self._load(checkpoint)
        interval = 1 if task.test_inputs is None else math.ceil(2 * len(task.test_inputs) / len(self._items))
        while not done:
            start = time.perf_counter()
            terms = self._train_epoch()
            parallel.agree(self._model)
            self.epoch += 1
            step = first_epoch + self.epoch
            for name, value in terms.items():
                task.observers.report(step, f"train_{name}", value)
            if len(self._held_out):
                task.observers.report(step, "validation_loss", self._validate())
            self.seconds += time.perf_counter() - start
            out_of_patience = recipe.patience is not None and self.epoch - self._best_epoch >= recipe.patience
            done = self.epoch == recipe.epochs or out_of_patience
            if done and self._best is not None:
                self._model.load_state_dict(self._best)
            if evaluate and (done or self.epoch % interval == 0):
                for name, value in accuracies(self._model, task).items():
                    task.observers.report(step, name, value)
            if checkpoint is not None and (done or checkpoint.is_due):
                checkpoint.write(self._state(done))

    def _train_epoch(self) -> dict[str, float]:
        """Train for one epoch, and return the mean loss and the means of its terms."""
        task, recipe = self._task, self._task.settings.recipe
        # All processes draw the same order of the items.  Each process draws its own augmentation and dropout.
        order = torch.Generator(task.device).manual_seed(seed_of(task.settings.seed, self._stream, 1 + self.epoch))
        own_seed = seed_of(task.settings.seed, self._stream, 1 + self.epoch, parallel.rank())
        draws = torch.Generator(task.device).manual_seed(own_seed)
        torch.manual_seed(own_seed)
        self._learner.begin_epoch(self._model, task, self._given, Epoch(self.epoch, recipe.epochs, self._items))
        self._schedule.begin_epoch(self.epoch)
        self._model.train()
        batches = list(_batches(self._items, recipe.batch_size, order))
        mine = [parallel.share(batch) for batch in batches]
        views = task.inputs.batches(mine, kind=recipe.augment, generator=draws, views=self._learner.views)
        log = StepLog(task.device, len(batches))
        for step, (items, whole, inputs) in enumerate(zip(mine, batches, views, strict=True)):
            batch = Batch(inputs, items, self._given, self.epoch, recipe.epochs)
            with autocast(recipe, task.device):
                terms = self._loss(batch)
            log.keep(step, terms, len(items))
            # Gradients are averaged over the processes, so each share of a batch is weighted by its size.
            loss = torch.stack(list(terms.values())).sum() * self._weight(items, whole)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            self._schedule.after_step()
            task.observers.tick(self._stream, (self.epoch + (step + 1) / len(batches)) / recipe.epochs)
        self._schedule.after_epoch()
        self.n_images += sum(len(batch) for batch in batches)
        return log.means(self._diverged)

    def _weight(self, mine: Tensor, whole: Tensor) -> float | Tensor:
        n_processes = parallel.world_size()
        if n_processes == 1:
            return 1.0
        if self._given.annotations is None:
            return len(mine) * n_processes / len(whole)
        per_item = self._given.annotations.per_item
        return per_item[mine].sum() * n_processes / per_item[whole].sum().clamp_min(1)

    def _diverged(self, step: int, term: str, value: float) -> TrainingDivergedError:
        recipe = self._task.settings.recipe
        return TrainingDivergedError(
            f"the training loss is {value} in epoch {self.epoch + 1} of {recipe.epochs}, step {step + 1}, "
            f"because of its term {term}; lower recipe.lr ({recipe.lr:g})"
        )

    def _validate(self) -> float:
        """Return the mean loss of the held-out items; store the best network if the recipe keeps it."""
        task, recipe = self._task, self._task.settings.recipe
        self._model.eval()
        total = torch.zeros((), device=task.device)
        places = self._held_out.split(task.inputs.predict_batch)
        with torch.inference_mode(), autocast(recipe, task.device):
            for items, inputs in zip(places, task.inputs.batches(places, views=self._learner.views), strict=True):
                terms = self._learner.loss(
                    self._model, Batch(inputs, items, self._given, self.epoch - 1, recipe.epochs)
                )
                total += torch.stack(list(terms.values())).sum() * len(items)
        loss = float(total) / len(self._held_out)
        if loss < self._best_loss:
            self._best_loss, self._best_epoch = loss, self.epoch
            if recipe.keep == "best":
                self._best = copy_of(self._model)
        return loss

    def _state(self, done: bool) -> dict[str, Any]:
        return {
            "done": done,
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "epoch": self.epoch,
            "n_images": self.n_images,
            "seconds": self.seconds,
            "best": {"loss": self._best_loss, "epoch": self._best_epoch, "model": self._best},
        }

    def _load(self, checkpoint: Checkpoint) -> bool:
        """Load the state of the checkpoint if its file exists, and return whether the training is finished."""
        state = checkpoint.read(self._task.device)
        if state is None:
            return False
        try:
            self._model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise CheckpointMismatchError(
                f"{checkpoint.path} belongs to another network; delete it or choose another folder"
            ) from error
        except Exception as error:  # a damaged state makes torch raise almost anything, here and below
            raise checkpoint.damaged(error) from error
        try:
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
            self.epoch, self.n_images = int(state["epoch"]), int(state["n_images"])
            self.seconds = float(state["seconds"])
            best = state["best"]
            self._best_loss, self._best_epoch, self._best = float(best["loss"]), int(best["epoch"]), best["model"]
            return bool(state["done"])
        except Exception as error:
            raise checkpoint.damaged(error) from error


def _batches(indices: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices in random order, batch by batch, without batches that are too small."""
    order = indices[torch.randperm(len(indices), generator=generator, device=indices.device)]
    return (batch for batch in order.split(size) if len(batch) >= _smallest_batch())


def _smallest_batch() -> int:
    return 2 * parallel.world_size()


def seed_of(*parts: int) -> int:
    """Return a 63-bit seed that is different for different sequences of whole numbers."""
    # A SeedSequence ignores zeros at the end, so the number of parts is added at the start.
    return int(np.random.SeedSequence([len(parts), *parts]).generate_state(1, np.uint64)[0] >> 1)
