from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from crowdml.learning import parallel
from crowdml.learning.cross_entropy import CrossEntropy
from crowdml.learning.loop import predict_proba, train
from tests.learning.tasks import blobs, make

DATA = blobs()


def _fit(rank: int, n_processes: int, folder: str) -> None:
    torch.set_num_threads(1)
    if n_processes > 1:
        distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=n_processes)
    task = make(DATA, epochs=2, batch_size=25)  # 120 items: batches of 25 and a last one of 20
    trained = train(CrossEntropy(), task, DATA.train_labels)
    state = {
        "weights": [parameter.detach() for parameter in trained.model.parameters()],
        "predicted": predict_proba(trained.model, task, task.test_images),
        "n_images": trained.n_images,
    }
    torch.save(state, f"{folder}/{n_processes}-{rank}.pt")
    if n_processes > 1:
        distributed.destroy_process_group()


def test_alone_nothing_is_different() -> None:
    batch = torch.arange(5)
    assert parallel.world_size() == 1
    assert parallel.rank() == 0
    assert torch.equal(parallel.share(batch), batch)
    assert parallel.sum_over_processes(batch) is batch


def test_two_processes_train_the_same_network_as_one(tmp_path: Path) -> None:
    _fit(0, 1, str(tmp_path))
    multiprocessing.spawn(_fit, args=(2, str(tmp_path)), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]
    one, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert one["n_images"] == first["n_images"] == 240
    for other in (first, second):
        for ours, theirs in zip(one["weights"], other["weights"], strict=True):
            assert ours.numpy() == pytest.approx(theirs.numpy(), abs=1e-5)
        assert one["predicted"].numpy() == pytest.approx(other["predicted"].numpy(), abs=1e-5)
