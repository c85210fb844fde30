from __future__ import annotations

from types import SimpleNamespace

import pytest

from crowdml.cli.main import main
from crowdml.files import Columns


def test_the_command_line_reaches_the_sharded_run(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    sharded = pytest.importorskip("sweeps.aggregation.sharded")
    asked = {}

    def aggregate_sharded(paths: str, method: str, **options: object) -> SimpleNamespace:
        asked.update(options, paths=paths, method=method)
        return SimpleNamespace(
            n_items=1000,
            n_workers=7,
            n_classes=2,
            n_annotations=5000,
            n_shards=2,
            n_iter=12,
            converged=True,
            seconds=3.2,
        )

    monkeypatch.setattr(sharded, "aggregate_sharded", aggregate_sharded)
    line = "aggregate parts --engine ray --method one_coin --task-column q --repeats keep --classes 1 0 --shards 2"
    assert main([*line.split(), "--option", "max_iter=12", "--out", "consensus", "--workers", "workers.csv"]) == 0
    assert asked == {
        "paths": "parts",
        "method": "one_coin",
        "out": "consensus",
        "workers_out": "workers.csv",
        "columns": Columns("q", "worker", "label"),
        "class_names": [1, 0],
        "repeats": "keep",
        "options": {"max_iter": 12},
        "n_shards": 2,
        "address": None,
    }
    out = capsys.readouterr().out
    assert "parts: 5,000 labels of 1,000 items by 7 workers, 2 classes" in out
    assert "one_coin in 2 shards, converged at iteration 12, 3.2 s" in out
    assert "wrote consensus, workers.csv" in out


def test_what_needs_the_whole_crowd_in_one_memory_is_refused(capsys) -> None:
    assert main(["aggregate", "parts", "--engine", "ray", "--prior", "0.5", "0.5"]) == 2
    said = "--engine ray cannot take --prior; leave out one of them"
    assert capsys.readouterr().err == f"crowdml aggregate: error: {said}\n"
