from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.checkpoint import CheckpointMismatchError
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.observers import Observers
from crowdml.learning.supervision import supervise
from crowdml.learning.task import Task
from crowdml.learning.trainer import StagedLearner, Trainer, TrainingRun
from tests.crowdml.learning.tasks import blobs, make

DATA = blobs()
GIVEN = supervise(DATA.train_labels, 3)
RECIPE = {"epochs": 4, "augment": "crop_flip", "optimizer": "adam", "lr": 0.01, "schedule": "one_cycle"}


class InterruptedError_(RuntimeError):
    """Somebody pulled the plug."""


@dataclass(frozen=True)
class StopsIn(LabelLearner):
    """Cross-entropy that is interrupted in an epoch, unless it is in none."""

    epoch: int | None = None

    def __repr__(self) -> str:
        return "StopsIn()"

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        if batch.epoch == self.epoch:
            raise InterruptedError_
        return CrossEntropy().loss(model, batch)


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3))


def task(folder: Path | None = None, **changes) -> Task:
    made = make(DATA, network=network, **{**RECIPE, **changes})
    return replace(made, observers=Observers(checkpoints=folder))


def state(model: nn.Module) -> Tensor:
    return torch.cat([value.flatten().float() for value in model.state_dict().values()])


@pytest.mark.parametrize("changes", [{}, {"validation": 0.2, "keep": "best", "schedule": "cosine"}])
def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path, monkeypatch, changes) -> None:
    monkeypatch.setattr("crowdml.learning.checkpoint.Checkpoint.is_due", True)
    whole = Trainer(task(**changes)).train(StopsIn(), GIVEN)
    with pytest.raises(InterruptedError_):
        Trainer(task(tmp_path, **changes)).train(StopsIn(epoch=2), GIVEN)
    seen: list[int] = []
    observers = Observers(report=lambda step, metric, value: seen.append(step), checkpoints=tmp_path)
    resumed = replace(task(**changes), observers=observers)
    trainer = Trainer(resumed)
    assert torch.equal(state(trainer.train(StopsIn(), GIVEN)), state(whole))
    assert set(seen) == {3, 4}
    n_items = 120 if not changes else 96
    assert trainer.n_images == 4 * n_items


def test_finished_trainings_are_taken_from_the_folder(tmp_path: Path) -> None:
    first = Trainer(task(tmp_path))
    models = [first.train(CrossEntropy(), GIVEN), first.train(CrossEntropy(), GIVEN)]
    again = Trainer(task(tmp_path))
    # An epoch that would raise shows that none is run.
    monkey = [again.train(CrossEntropy(), GIVEN) for _ in range(2)]
    assert [torch.equal(state(old), state(new)) for old, new in zip(models, monkey, strict=True)] == [True, True]
    assert not torch.equal(state(models[0]), state(models[1]))
    assert (again.n_trainings, again.n_images, again.seconds) == (2, first.n_images, first.seconds)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    Trainer(task(tmp_path)).train(CrossEntropy(), GIVEN)
    with pytest.raises(CheckpointMismatchError, match=r"training-000\.pt belongs to another training .* delete it"):
        Trainer(task(tmp_path, epochs=5)).train(CrossEntropy(), GIVEN)
    with pytest.raises(CheckpointMismatchError, match=r"training-000\.pt belongs to another network; delete it"):
        Trainer(replace(make(DATA, **RECIPE), observers=Observers(checkpoints=tmp_path))).train(CrossEntropy(), GIVEN)
    (tmp_path / "training-000.pt").write_bytes(b"nonsense")
    with pytest.raises(CheckpointMismatchError, match="cannot be read as a checkpoint"):
        Trainer(task(tmp_path)).train(CrossEntropy(), GIVEN)


def test_a_checkpoint_that_would_run_code_is_not_read(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"identity": Evil()}, tmp_path / "training-000.pt")
    with pytest.raises(CheckpointMismatchError, match="cannot be read"):
        Trainer(task(tmp_path)).train(CrossEntropy(), GIVEN)
    assert not (tmp_path / "ran").exists()


def test_a_trainer_counts_what_its_trainings_cost() -> None:
    trainer = Trainer(task())
    trainer.train(CrossEntropy(), GIVEN)
    trainer.train(CrossEntropy(), GIVEN, items=torch.arange(60), recipe=replace(trainer.task.settings.recipe, epochs=2))
    assert (trainer.n_trainings, trainer.n_epochs, trainer.n_images) == (2, 6, 4 * 120 + 2 * 60)
    assert trainer.seconds > 0


def test_a_trainer_predicts_for_the_training_items() -> None:
    trainer = Trainer(task())
    model = trainer.train(CrossEntropy(), GIVEN)
    everything = trainer.predict(model)
    assert everything.shape == (120, 3)
    assert everything.sum(dim=1).numpy() == pytest.approx(np.ones(120), abs=1e-5)
    some = torch.tensor([5, 3, 99])
    assert torch.allclose(trainer.predict(model, some), everything[some], atol=1e-6)


@dataclass(frozen=True)
class TwoStages(LabelLearner, StagedLearner):
    """Two trainings, the second from the first one's network; keeps its run."""

    runs: list[TrainingRun] = field(default_factory=list)

    def learn(self, run: TrainingRun) -> nn.Module:
        self.runs.append(run)
        first = run.train(CrossEntropy(), evaluate=False)
        return run.train(CrossEntropy(), model=first)


def test_a_staged_learner_is_given_a_run_over_its_items() -> None:
    trainer, learner, items = Trainer(task(epochs=1)), TwoStages(), torch.tensor([7, 3, 5, 90])
    model = trainer.learn(learner, GIVEN, items=items)
    (run,) = learner.runs
    assert (trainer.n_trainings, trainer.n_images) == (2, 8)
    assert run.indices.tolist() == items.tolist()
    assert run.predict(model).shape == (4, 3)
    (inputs,) = run.batches()
    assert torch.equal(inputs, next(iter(run.task.inputs.batches([items])))[0])


def test_a_run_reports_the_test_accuracy_unless_told_otherwise() -> None:
    metrics: list[str] = []
    observers = Observers(report=lambda step, metric, value: metrics.append(metric))
    watched = replace(task(epochs=1), observers=observers)
    Trainer(watched).learn(TwoStages(), GIVEN)
    assert metrics.count("test_accuracy") == 1
    assert metrics.count("train_loss") == 2
