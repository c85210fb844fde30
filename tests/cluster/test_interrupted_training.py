"""A training that is interrupted goes on from its last epoch, and ends as one that was not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.running.checkpoints import FOLDER
from tests.cluster.nodes import Command, Nodes, ray_nodes, wait_until
from tests.cluster.processes import end
from tests.cluster.results import assert_complete, assert_same
from tests.cluster.watched import NOTES, epochs

N_EPOCHS = 12
# By the estimate of its cost a cell of this network is long enough for checkpoints; it is not.
GRID = ["--preset", "laptop", "--methods", "tests.cluster.watched:Watched", "--network", "resnet9", "--patterns"]
GRID += ["uniform", "--workers", "3", "--n-train", "100", "--epochs", str(N_EPOCHS)]


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes") / "epochs"


@pytest.fixture(scope="module")
def nodes(notes: Path) -> Iterator[Nodes]:
    with ray_nodes(environment={NOTES: str(notes)}) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "kind"), [(0, "trial"), (1, "driver"), (2, "node")])
def test_it_goes_on(seed: int, kind: str, nodes: Nodes, notes: Path, tmp_path: Path) -> None:
    arguments, results = [*GRID, "--seeds", str(seed)], tmp_path / "r"
    notes.unlink(missing_ok=True)
    command = Command(arguments, results, nodes.address)
    wait_until(lambda: 3 in epochs(notes), of=command)
    if kind == "driver":
        command.kill()
        command = Command(arguments, results, nodes.address)
    elif kind == "node":
        nodes.lose(nodes.trials()[0][1])
        nodes.add()
    else:
        end([nodes.trials()[0][0]])
    assert command.wait() == 0, command.output
    trained = epochs(notes)
    # Each epoch once, but for the one whose state was not yet kept.
    assert sorted(set(trained)) == list(range(1, N_EPOCHS + 1))
    assert len(trained) <= N_EPOCHS + 1
    assert not any((results / FOLDER).iterdir())

    alone = Command(arguments, tmp_path / "alone", None, **{NOTES: str(tmp_path / "notes")})
    assert alone.wait() == 0, alone.output
    assert epochs(tmp_path / "notes") == list(range(1, N_EPOCHS + 1))
    assert_complete(results, 1)
    assert_same(results, tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["worker", "node"])
def test_it_goes_on_with_several_train_workers(kind: str, tmp_path: Path) -> None:
    notes, alone = tmp_path / "epochs", tmp_path / "alone"
    arguments = [*GRID, "--seeds", "0", "--train-workers", "2"]
    with ray_nodes(dashboard=True, environment={NOTES: str(notes)}) as nodes:
        command = Command(arguments, alone, nodes.address)
        assert command.wait() == 0, command.output
        assert epochs(notes) == list(range(1, N_EPOCHS + 1))
        notes.unlink()
        command = Command(arguments, tmp_path / "r", nodes.address)
        wait_until(lambda: 3 in epochs(notes), of=command)
        pid, node = nodes.trials("RayTrainWorker")[0]
        if kind == "node":
            nodes.lose(node)
            nodes.add()
        else:
            end([pid])
        assert command.wait() == 0, command.output
    trained = epochs(notes)
    assert sorted(set(trained)) == list(range(1, N_EPOCHS + 1))
    assert len(trained) <= N_EPOCHS + 1
    assert_complete(tmp_path / "r", 1)
    assert_same(tmp_path / "r", alone)
