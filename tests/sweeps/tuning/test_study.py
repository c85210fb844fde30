"""Drivers share a study: no trial is missing, computed twice or lost when a driver stops or dies."""

from __future__ import annotations

import math
import time
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from optuna.trial import TrialState

from crowdml.support.search_space import Value
from sweeps.tuning import study as study_module
from sweeps.tuning.study import (
    BY_SEED,
    COPY_OF,
    POINT,
    Claim,
    SharedStudy,
    StudyError,
    n_begun,
    open_storage,
    study_name,
    without_password,
)
from tests.searches import of_labels, of_network

FEW = of_labels(options=["hard", "init"])  # a space of four points
MANY = of_labels(options=["smoothing", "diagonal"])


def worth(point: dict[str, Value]) -> float:
    """A hill with its top at smoothing 0.1 and diagonal 1."""
    smoothing, diagonal = point["smoothing"], point["diagonal"]
    assert isinstance(smoothing, float)
    assert isinstance(diagonal, float)
    return -((math.log10(smoothing) + 1) ** 2) - (diagonal - 1) ** 2


def compute_all(study: SharedStudy, worth: Any = worth) -> list[Claim]:
    done = []
    while (claim := study.claim()) is not None:
        study.finish(claim.number, worth(claim.point), 0.1, [worth(claim.point)])
        done.append(claim)
    return done


@pytest.fixture(params=["s.journal", "sqlite:///{}/s.db"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    where = request.param
    return where.format(tmp_path) if "://" in where else str(tmp_path / "made" / where)


def test_the_first_trial_has_the_defaults_and_no_trial_exceeds_the_number(storage: str) -> None:
    study = SharedStudy(storage, MANY, n_trials=5)
    done = compute_all(study)
    assert done[0].point == MANY.defaults()
    assert [claim.number for claim in done] == list(range(5))
    assert not study.more_may_come()
    assert n_begun(storage, study_name(MANY)) == 5
    assert study.value_of(MANY.defaults()) == pytest.approx(worth(MANY.defaults()))


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_a_resumed_search_draws_the_points_of_an_uninterrupted_one(sampler: Any, tmp_path: Path) -> None:
    def points(name: str, *sizes: int) -> list[dict[str, Value]]:
        for size in sizes:
            compute_all(SharedStudy(str(tmp_path / name), MANY, n_trials=size, sampler=sampler, seed=3))
        trials = SharedStudy(str(tmp_path / name), MANY, n_trials=0).finished_trials()
        return [trial.user_attrs[POINT] for trial in trials]

    whole = points("whole", 16)
    assert points("parts", 5, 6, 16) == whole
    assert len({tuple(point.items()) for point in whole}) == 16
    assert points("parts", 10) == whole


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_samplers_find_the_top_of_a_hill(sampler: Any, tmp_path: Path) -> None:
    study = SharedStudy(str(tmp_path / "s"), MANY, n_trials=60, sampler=sampler)
    compute_all(study)
    best = study.best()
    assert best is not None
    assert worth(MANY.defaults()) == -2
    assert best.values[0] > -0.02
    values = [trial.values[0] for trial in study.finished_trials()]
    assert sum(values[-20:]) > sum(values[:20])  # random points would not get better


def test_a_point_is_computed_only_once(tmp_path: Path) -> None:
    computed: list[dict[str, Value]] = []

    def worth(point: dict[str, Value]) -> float:
        computed.append(point)
        return 0.5 + 0.1 * bool(point["hard"])

    study = SharedStudy(str(tmp_path / "s"), FEW, n_trials=20, sampler="random")
    while (claim := study.claim()) is not None:
        study.finish(claim.number, worth(claim.point), 7.0, [1.0])
    assert len(computed) == len({tuple(point.items()) for point in computed}) == 4
    assert len(study.finished_trials()) == 20
    for trial in study.finished_trials():
        assert trial.values[0] == 0.5 + 0.1 * trial.user_attrs[POINT]["hard"]
        assert trial.user_attrs[BY_SEED] == [1.0]
        if COPY_OF in trial.user_attrs:
            original = study.finished_trials()[trial.user_attrs[COPY_OF]]
            assert COPY_OF not in original.user_attrs
            assert original.user_attrs[POINT] == trial.user_attrs[POINT]
    assert sum(COPY_OF in trial.user_attrs for trial in study.finished_trials()) == 16


def test_failed_and_stopped_trials_keep_their_places_and_released_ones_do_not(tmp_path: Path) -> None:
    study = SharedStudy(str(tmp_path / "s"), MANY, n_trials=3)
    first, second, third = study.claim(), study.claim(), study.claim()
    assert first is not None
    assert second is not None
    assert third is not None
    assert study.claim() is None
    assert study.n_running() == 3
    study.fail(first.number, "Traceback")
    study.report(second.number, 1, 0.25)
    study.stop(second.number, 1.0)
    study.release()
    assert [trial.state for trial in study.finished_trials()] == [TrialState.FAIL, TrialState.PRUNED]
    assert study.finished_trials()[1].value == 0.25
    assert study.best() is None
    again = study.claim()
    assert again is not None
    assert again.point != third.point or again.number != third.number
    assert study.claim() is None


def test_two_drivers_share_the_trials(tmp_path: Path) -> None:
    together, counts = Barrier(2), {}

    def drive(name: int) -> None:
        study = SharedStudy(str(tmp_path / "s"), MANY, n_trials=30)
        together.wait()
        done = 0
        while True:
            claim = study.claim()
            if claim is not None:
                time.sleep(0.01)
                study.finish(claim.number, worth(claim.point), 0.1, [0.0])
                done += 1
            elif not study.more_may_come():
                break
        counts[name] = done

    threads = [Thread(target=drive, args=(name,)) for name in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    study = SharedStudy(str(tmp_path / "s"), MANY, n_trials=30)
    trials = study.finished_trials()
    assert len(trials) == 30
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert min(counts.values()) > 3
    computed = [tuple(trial.user_attrs[POINT].items()) for trial in trials if COPY_OF not in trial.user_attrs]
    assert len(set(computed)) == len(computed) == sum(counts.values())


def test_a_trial_whose_driver_died_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "LOST_SECONDS", 0.3)
    dead = SharedStudy(str(tmp_path / "s"), MANY, n_trials=1)
    left_behind = dead.claim()
    assert left_behind is not None
    study = SharedStudy(str(tmp_path / "s"), MANY, n_trials=1)
    assert study.claim() is None
    assert study.more_may_come()
    time.sleep(0.4)
    assert study.more_may_come()
    claim = study.claim()
    assert claim is not None
    dead.finish(left_behind.number, 9.0, 1.0, [9.0])  # the first driver was only slow: its result is ignored
    study.finish(claim.number, 1.0, 1.0, [1.0])
    assert [trial.values[0] for trial in study.finished_trials()] == [1.0]


def test_a_trial_with_heartbeats_is_not_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "LOST_SECONDS", 0.6)
    monkeypatch.setattr(study_module, "BEAT_SECONDS", 0.1)
    slow = SharedStudy(str(tmp_path / "s"), MANY, n_trials=1)
    study = SharedStudy(str(tmp_path / "s"), MANY, n_trials=1)
    with slow.keep_alive():
        claim = slow.claim()
        assert claim is not None
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert study.more_may_come()
            assert study.claim() is None
            time.sleep(0.1)
        slow.finish(claim.number, 0.0, 1.0, [0.0])
    assert not study.more_may_come()


def test_searches_that_differ_do_not_mix(tmp_path: Path) -> None:
    other = [
        FEW, of_labels(options=["smoothing", "diagonal"], seeds=[0, 1]), of_labels(options=["smoothing", "diagonal"],
        objective="noisy_validation"), of_labels(options=["smoothing", "diagonal"], share=0.3),
        of_labels(options=["smoothing", "diagonal"], n_workers=4), of_network(options=["alpha", "beta"]),
    ]  # fmt: skip
    assert len({search.name for search in [MANY, *other]}) == 7
    assert of_labels(options=["smoothing", "diagonal"]).name == MANY.name
    compute_all(SharedStudy(str(tmp_path / "s"), MANY, n_trials=3))
    for search in other:
        assert n_begun(str(tmp_path / "s"), study_name(search)) == 0
    assert n_begun(str(tmp_path / "s"), study_name(MANY)) == 3
    assert n_begun(str(tmp_path / "none"), study_name(MANY)) == 0
    assert not (tmp_path / "none").exists()


def test_a_study_holds_no_pickled_sampler_state(tmp_path: Path) -> None:
    """Optuna's own CMA-ES leaves its state pickled in the study, and loads whatever stands there."""
    study = SharedStudy(str(tmp_path / "s"), MANY, n_trials=20, sampler="cmaes")
    compute_all(study)
    assert not any("optimizer" in name for trial in study.finished_trials() for name in trial.system_attrs)


def test_an_error_of_the_storage_does_not_show_the_password(tmp_path: Path) -> None:
    assert without_password("postgresql://me:secret@host/db") == "postgresql://host/db"
    assert without_password("s.journal") == "s.journal"
    with pytest.raises(StudyError, match="cannot open the study nodb://host/x") as error:
        open_storage("nodb://me:secret@host/x")
    assert "secret" not in str(error.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="cannot open the study"):
        open_storage(str(tmp_path / "file" / "s.journal"))


def test_cmaes_refuses_several_objectives(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--sampler cmaes supports one objective"):
        SharedStudy(str(tmp_path / "s"), MANY, n_trials=1, sampler="cmaes", multi_objective=True)
