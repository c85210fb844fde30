from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn

from crowdml.learning import parallel
from crowdml.learning.batch import Batch
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.loop import train
from crowdml.learning.supervision import Supervision, supervise
from crowdml.learning.task import Task
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs()


def _fit(rank: int, n_processes: int, folder: str) -> None:
    with _Together(rank, n_processes, folder):
        task = make(DATA, epochs=2, batch_size=25)  # 120 items: batches of 25 and a last one of 20
        assert task.test_inputs is not None
        trained = train(CrossEntropy(), task, supervise(DATA.train_labels, 3))
        state = {
            "weights": list(trained.model.state_dict().values()),
            "predicted": predict_proba(trained.model, task, task.test_inputs),
            "n_images": trained.n_images,
        }
        torch.save(state, f"{folder}/{n_processes}-{rank}.pt")


@dataclass(frozen=True)
class _Remember(LabelLearner):
    """A learner that keeps which items each step of this process was given."""

    steps: list[list[int]] = field(default_factory=list)

    def build(self, task: Task, given: Supervision) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        self.steps.append(batch.items.tolist())
        return {"square": model(batch.inputs).square().mean()}


def _remember(rank: int, n_processes: int, folder: str) -> None:
    with _Together(rank, n_processes, folder):
        learner = _Remember()
        # 120 items: uneven shares of 25, and a last batch of 20.
        task = make(DATA, epochs=3, batch_size=25, augment="crop_flip")
        model = train(learner, task, supervise(DATA.train_labels, 3)).model
        torch.save((learner.steps, model.state_dict()), f"{folder}/{rank}.pt")


class _Together:
    """One of several processes that know each other."""

    def __init__(self, rank: int, n_processes: int, folder: str) -> None:
        torch.set_num_threads(1)
        self._several = n_processes > 1
        if self._several:
            meet = f"file://{folder}/meet"
            distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=n_processes)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._several:
            gc.collect()  # what still holds the process group must go before it
            distributed.barrier()  # a process that leaves early makes the other one abort
            distributed.destroy_process_group()


def _spawn(run: Callable[[int, int, str], None], folder: Path) -> None:
    multiprocessing.spawn(run, args=(2, str(folder)), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]


def test_alone_nothing_is_different() -> None:
    batch = torch.arange(5)
    assert parallel.world_size() == 1
    assert parallel.rank() == 0
    assert torch.equal(parallel.share(batch), batch)
    assert parallel.sum_over_processes(batch) is batch


def test_two_processes_train_the_same_network_as_one(tmp_path: Path) -> None:
    _fit(0, 1, str(tmp_path))
    _spawn(_fit, tmp_path)
    one, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert one["n_images"] == first["n_images"] == 240
    for other in (first, second):
        for ours, theirs in zip(one["weights"], other["weights"], strict=True):
            assert ours.numpy() == pytest.approx(theirs.numpy(), abs=1e-5)
        assert one["predicted"].numpy() == pytest.approx(other["predicted"].numpy(), abs=1e-5)


def test_processes_share_every_epoch_out_and_end_with_one_network(tmp_path: Path) -> None:
    _spawn(_remember, tmp_path)
    (first, state), (second, other) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    steps_per_epoch = 5
    assert len(first) == len(second) == 3 * steps_per_epoch
    for start in range(0, len(first), steps_per_epoch):
        seen = [item for steps in (first, second) for step in steps[start : start + steps_per_epoch] for item in step]
        assert sorted(seen) == list(range(120))
    for name, value in state.items():
        assert torch.equal(value, other[name]), name
