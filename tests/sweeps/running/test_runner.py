"""What the runner makes of processes and machines that are lost; Ray and Tune are told what to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from rich.console import Console

from crowdml import datasets
from crowdml.experiment.cell import Cell
from crowdml.experiment.run_cell import attempt_cell
from sweeps.estimates.placement import Placement
from sweeps.running import runner
from sweeps.running.gained_cells import look_before
from sweeps.running.runner import LEVELS, MAX_NODES_LOST, NO_RESULT, Run, run_inline, run_on_ray
from sweeps.running.shards import Shard
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.watching.progress import Progress
from sweeps.watching.tally import Tally
from tests.cells import PROVENANCE, cell

CELLS = [cell(seed=seed) for seed in range(6)]
UNAVAILABLE = ActorUnavailableError("socket closed", None)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    store = ResultStore(tmp_path / "r")
    store.create()

    def seconds(cell: Cell) -> float:
        return 0.1

    return Run(
        cells=CELLS,
        ranks=[0] * len(CELLS),
        data={"digits": datasets.load("digits")},
        store=store,
        before=look_before(store, again=False),
        provenance=PROVENANCE,
        seconds=seconds,
        progress=Progress(Console(file=StringIO()), Tally(CELLS, store.read_cells(), CELLS, seconds, 2)),
    )


class Cluster:
    """Tune and the nodes, as the runner sees them.

    Args:
        run: whose cells are computed.
        outcome: of each round, given its number, which starts with 0, and cells: those that are computed, and the
            error of the trials of all other cells.
        gone: nodes that are gone after each round.
    """

    def __init__(
        self,
        run: Run,
        outcome: Callable[[int, list[Cell]], tuple[list[Cell], Exception | None]],
        gone: Sequence[set[str]],
    ) -> None:
        self._run, self._outcome, self._gone = run, outcome, gone
        self.rounds: list[list[list[str]]] = []

    def tune(self, shards: Sequence[Shard], *, max_failures: int) -> dict[str, Exception]:
        self.rounds.append([[cell.id for cell, _ in shard.cells] for shard in shards])
        cells = [cell for shard in shards for cell, _ in shard.cells]
        done, error = self._outcome(len(self.rounds) - 1, cells)
        self._run.store.write([attempt_cell(cell, self._run.data["digits"]) for cell in done], PROVENANCE)
        return {} if error is None else {cell.id: error for cell in cells if cell not in done}

    def nodes(self) -> set[str]:
        return set().union(*self._gone[: len(self.rounds)])


def on(cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_Tuning", lambda *arguments: cluster)
    monkeypatch.setattr(runner, "_gone_nodes", cluster.nodes)
    monkeypatch.setattr(runner, "_NOTICE_SECONDS", 0.0)
    run_on_ray(run, Placement(), n_slots=2)


def errors(run: Run) -> dict[str, Any]:
    rows = run.store.read_rows("cells", ["cell_id", "error"]).to_pydict()
    return dict(zip(rows["cell_id"], rows["error"], strict=True))


def test_a_cell_that_kills_its_process_is_found_and_costs_no_other(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = CELLS[2]

    def outcome(number: int, cells: list[Cell]) -> tuple[list[Cell], Exception | None]:
        # The whole shard is lost with its process.
        return ([cell for cell in cells if cell != bad] if number == LEVELS - 1 else []), ActorDiedError()

    cluster = Cluster(run, outcome, [set()] * 9)
    on(cluster, run, monkeypatch)
    assert len(cluster.rounds) == LEVELS
    # In the end each is alone.
    assert len(cluster.rounds[0]) < len(cluster.rounds[1])
    assert sorted(cluster.rounds[-1]) == sorted([cell.id] for cell in CELLS)
    assert errors(run) == {cell.id: ActorDiedError.BASE_ERROR_MSG if cell == bad else None for cell in CELLS}


@pytest.mark.parametrize("error", [ActorDiedError(), ActorUnavailableError("socket closed", None)])
def test_machines_that_go_away_are_not_the_cells_fault(
    error: Exception, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_losses = 3 * LEVELS

    def outcome(number: int, cells: list[Cell]) -> tuple[list[Cell], Exception | None]:
        return (cells, None) if number == n_losses else ([], error)

    cluster = Cluster(run, outcome, [{f"node {number}"} for number in range(n_losses)] + [set()])
    on(cluster, run, monkeypatch)
    assert len(cluster.rounds) == n_losses + 1
    assert set(errors(run).values()) == {None}


def test_cells_on_which_every_machine_dies_fail_in_the_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(run, lambda number, cells: ([], None), [{str(number)} for number in range(99)])
    on(cluster, run, monkeypatch)
    assert len(cluster.rounds) == MAX_NODES_LOST + LEVELS
    assert set(errors(run).values()) == {NO_RESULT}


def test_a_node_that_is_noticed_late_counts_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[set[str]] = [set(), set(), set(), {"node"}]

    def nodes() -> set[str]:
        return found.pop(0) if len(found) > 1 else found[0]

    cluster = Cluster(run, lambda number, cells: (cells, None) if number else ([], UNAVAILABLE), [])
    monkeypatch.setattr(runner, "_Tuning", lambda *arguments: cluster)
    monkeypatch.setattr(runner, "_gone_nodes", nodes)
    run_on_ray(run, Placement(), n_slots=2)
    # The second round is like the first.
    assert cluster.rounds[0] == cluster.rounds[1]
    assert set(errors(run).values()) == {None}


def test_only_a_process_that_does_not_answer_is_worth_waiting_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[bool] = []

    def newly_gone(before: set[str], *, wait: bool) -> set[str]:
        waits.append(wait)
        return set()

    in_a_task = RayTaskError("work", "traceback", UNAVAILABLE)
    errors = [ActorDiedError(), UNAVAILABLE, in_a_task]
    cluster = Cluster(run, lambda number, cells: ([], errors[number]), [set()] * 9)
    monkeypatch.setattr(runner, "_newly_gone", newly_gone)
    on(cluster, run, monkeypatch)
    assert waits == [False, True, True]


def test_cells_that_another_run_computes_meanwhile_are_not_failed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome(number: int, cells: list[Cell]) -> tuple[list[Cell], Exception | None]:
        # The trials end without an error, because they skipped these cells.
        theirs = [attempt_cell(one, run.data["digits"]) for one in cells[:4]]
        run.store.write(theirs, replace(PROVENANCE, run_id="another"))
        return cells[4:], None

    cluster = Cluster(run, outcome, [set()])
    on(cluster, run, monkeypatch)
    assert len(cluster.rounds) == 1
    assert set(errors(run).values()) == {None}
    assert run.progress.snapshot().n_ok == len(CELLS)
    assert len(run.store.attempts()) == len(CELLS)


def test_without_ray_all_cells_are_computed(run: Run) -> None:
    run_inline(run)
    assert set(errors(run)) == {cell.id for cell in CELLS}
    assert run.progress.snapshot().n_ok == len(CELLS)


def test_storage_that_cannot_be_written_ends_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*arguments: Any) -> None:
        raise ResultsError("no space left")

    monkeypatch.setattr(runner.CellWorker, "_write", write)
    with pytest.raises(ResultsError, match="no space left"):
        run_inline(run)
    assert run.progress.snapshot().running == 0
