from __future__ import annotations

import subprocess
from importlib.metadata import version

import pytest

from sweeps.store import provenance
from sweeps.store.provenance import collect


def test_what_a_run_records() -> None:
    made = collect({"digits": "f00d"}, command="full_grid.py --results s3://a:hush@b --token hush", run_id="run-1")
    assert made.versions["pandas"] == version("pandas")
    assert made.versions["optuna"] == version("optuna")
    columns = made.columns()
    assert columns["run_id"] == "run-1"
    assert columns["command"] == "full_grid.py --results s3://***@b --token ***"
    assert columns["finished_at"].tzinfo is not None


def test_an_image_without_a_repository_names_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*arguments: object, **options: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    monkeypatch.delenv(provenance.COMMIT_VARIABLE, raising=False)
    assert collect({}).git_commit is None
    monkeypatch.setenv(provenance.COMMIT_VARIABLE, "abc123")
    made = collect({})
    assert (made.git_commit, made.git_dirty, made.command) == ("abc123", None, None)


def test_a_repository_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_git", lambda _, *arguments: "" if "status" in arguments else "fromgit")
    monkeypatch.setenv(provenance.COMMIT_VARIABLE, "abc123")
    assert (collect({}).git_commit, collect({}).git_dirty) == ("fromgit", False)
