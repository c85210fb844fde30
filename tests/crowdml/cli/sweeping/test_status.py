from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from crowdml.cli.main import parse
from crowdml.cli.sweeping import status, watch
from crowdml.experiment.result import failed
from crowdml.learning.recipe import Recipe
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.store.schema import to_tables
from sweeps.watching import run_record
from sweeps.watching.folder_snapshot import snapshot_of_rows
from sweeps.watching.run_record import announce
from sweeps.watching.snapshot import Count, Snapshot
from sweeps.watching.tally import Tally
from tests.cells import PROVENANCE, cell, result

SNAPSHOT = Snapshot(
    n_cells=10, n_ok=4, n_left=6, elapsed=61.0, eta_seconds=90.0, running=2,
    by_axis={"method": {"mv": Count(done=4, failed=0, total=5), "em": Count(done=0, failed=0, total=5)}},
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    made = ResultStore(tmp_path / "r")
    made.create()
    return made


def call(command: str, *words: str) -> tuple[int, str]:
    """The exit code and the output of a command."""
    options = parse([command, *words])
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        for module in (status, watch):
            patched.setattr(module, "Console", lambda: Console(file=output, width=100))
        code = options.run(options) or 0
    return code, output.getvalue()


def fill(store: ResultStore) -> None:
    rows = [result(seed=seed, method=method) for seed in (0, 1) for method in ("mv", "em")]
    store.write([*rows, failed(cell(seed=2), "Traceback:\n  x\nValueError: too bad")], PROVENANCE)


def test_of_a_live_run_its_progress_is_shown(store: ResultStore) -> None:
    fill(store)
    with announce(store, "run-1", "python sweeps/full_grid.py") as record:
        assert "run-1: no cell has ended yet" in call("status", store.location)[1]
        record.update(SNAPSHOT)
        record.write()
        code, text = call("status", store.location)
    assert code == 0
    assert "4/10 cells  40.0 %  ETA 01:30  01:01 elapsed" in text
    assert "run-1  running" in text
    assert "python sweeps/full_grid.py" in text
    assert "4/5" in text
    assert "no run is alive" not in text


def test_when_no_run_is_alive_the_rows_are_shown(store: ResultStore) -> None:
    fill(store)
    with announce(store, "run-1", "c") as record:
        record.update(SNAPSHOT)
    code, text = call("status", store.location)
    assert code == 0
    assert "run-1  finished" in text
    assert "no run is alive; the folder holds 5 cells: 4 ok, 1 failed" in text
    assert "mv" in text
    assert "ValueError: too bad" in text


def test_runs_of_other_versions_are_listed(store: ResultStore) -> None:
    with announce(store, "run-1", "c") as record:
        record.update(SNAPSHOT)
    file = Path(store.location) / "runs" / "run-1.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "snapshot": {"n_cells": 3}}))
    assert "of another version" in call("status", store.location)[1]


def test_texts_of_a_record_are_printed_as_they_are(store: ResultStore) -> None:
    run_id = "[bold]x[red]"
    with announce(store, run_id, "c [red] \x1b[2J") as record:
        record.update(replace(SNAPSHOT, by_axis={"[/a]": {"\x1b]0;x\x07": Count(done=1, failed=0, total=2)}}))
        record.write()
        text = call("status", store.location)[1]
    assert text.startswith("run ")
    assert text.count(run_id) == 2
    assert r"c [red] \x1b[2J" in text
    assert "\x1b" not in text
    assert json.loads(call("status", store.location, "--json")[1])["runs"][0]["run_id"] == run_id


def test_a_live_run_of_another_version_is_shown(store: ResultStore) -> None:
    with announce(store, "run-1", "c") as record:
        record._state = replace(record._state, snapshot={"n_cells": "x"})
        record.write()
        assert "run-1: of another version" in call("status", store.location)[1]


def test_json(store: ResultStore) -> None:
    fill(store)
    with announce(store, "run-1", "c") as record:
        record.update(SNAPSHOT)
        record.write()
        live = json.loads(call("status", store.location, "--json")[1])
    (run,) = live["runs"]
    assert (run["run_id"], run["state"], Snapshot.from_dict(run["snapshot"])) == ("run-1", "running", SNAPSHOT)
    assert "folder" not in live
    folder = json.loads(call("status", store.location, "--json")[1])["folder"]
    assert (folder["n_cells"], folder["n_done_before"], folder["n_failed_before"]) == (5, 4, 1)


def test_a_folder_without_results(tmp_path: Path) -> None:
    for command in ("status", "watch"):
        with pytest.raises(ResultsError, match="no results folder"):
            call(command, str(tmp_path / "nothing"))


def test_an_empty_results_folder(store: ResultStore) -> None:
    assert "the folder holds 0 cells" in call("status", store.location)[1]


def test_watch_ends_with_the_run(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_record, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(watch, "_LOOK_SECONDS", 0.05)
    assert call("watch", store.location) == (
        1,
        "no run is alive; crowdml status shows what the folder holds\n",
    )
    done, begun = threading.Event(), threading.Event()

    def drive() -> None:
        with announce(store, "run-1", "c") as record:
            record.update(SNAPSHOT)
            record.write()
            begun.set()
            done.wait()

    driver = threading.Thread(target=drive)
    driver.start()
    begun.wait()
    threading.Timer(0.5, done.set).start()
    code, text = call("watch", store.location)
    driver.join()
    assert code == 0
    assert text.splitlines() == ["4/10 cells · 2 running · 0 failed · 01:01 elapsed · ETA 01:30"] * 2 + [
        "run run-1: finished"
    ]
    with pytest.raises(ValueError, match="no run 'run-2'; there are run-1"):
        call("watch", store.location, "--run", "run-2")


def test_watch_of_a_run_that_failed(store: ResultStore) -> None:
    with pytest.raises(RuntimeError), announce(store, "run-1", "c"):
        raise RuntimeError
    assert call("watch", store.location, "--run", "run-1") == (
        1,
        "run run-1: no cell has ended yet\nrun run-1: failed\n",
    )


AXES = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["mv", "em", "wawa"]),
        "n_workers": st.sampled_from([3, 5]),
        "noise_rate": st.sampled_from([0.25, 0.6]),
        "seed": st.integers(0, 2),
    },
    optional={
        "n_train": st.sampled_from([100, 1000]),
        "method_options": st.just({"max_iter": 5}),
        "pattern_options": st.just({"a": 1.5}),
        "recipe": st.just(Recipe(epochs=2)),
    },
)


@settings(max_examples=25)
@given(st.lists(st.tuples(AXES, st.booleans(), st.integers(0, 100)), min_size=1, max_size=30))
def test_rows_and_a_tally_of_the_same_cells_say_the_same(entries: Sequence[tuple[dict, bool, int]]) -> None:
    made = {}
    for axes, ok, hundredths in entries:
        trained = {"network": "cnn_digits"} if "recipe" in axes else {}
        axes = {**axes, **trained}
        if axes["method"] != "em":
            axes.pop("method_options", None)
        one = cell(**axes)
        outcome = result(**axes) if ok else failed(one, "ValueError: no")
        if ok:
            object.__setattr__(outcome, "aggregation_error", hundredths / 100)
            object.__setattr__(outcome, "test_accuracy", hundredths / 100 if trained else None)
        made[one.id] = outcome
    table = to_tables(list(made.values()), list(made), PROVENANCE)["cells"].to_pandas()
    from_rows = snapshot_of_rows(table)
    from_tally = Tally([one.cell for one in made.values()], table, [], lambda _: 1.0, 1).snapshot()
    assert from_rows.by_axis == from_tally.by_axis
    assert (from_rows.n_cells, from_rows.n_done, from_rows.n_failed_before, from_rows.n_panels) == (
        from_tally.n_cells, from_tally.n_done, from_tally.n_failed_before, from_tally.n_panels,
    )  # fmt: skip
    # Of methods that are equally good either may be named.
    rounded = [
        sorted((best.panel, best.measure, round(best.value, 9), best.n_methods) for best in snapshot.best)
        for snapshot in (from_rows, from_tally)
    ]
    assert rounded[0] == rounded[1]
