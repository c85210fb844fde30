from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from crowdml.aggregation import DawidSkene, MajorityVote
from crowdml.files import FileError, read_prior, write_tables
from crowdml.files.frames import (
    MOST_CLASSES,
    confusion_frame,
    consensus_frame,
    doubtful_labels_frame,
    workers_frame,
)
from crowdml.files.gold_and_history import with_gold, with_history
from crowdml.labels import CrowdLabels
from crowdml.methods.from_frames import fit_predict, fit_predict_proba
from crowdml.support.names import UnknownNameError
from tests.crowds import crowds, simulated

FRAME = pd.DataFrame(
    [("b", 1, "no"), ("b", 2, "no"), ("b", 3, "yes"), ("a", 1, "yes"), ("a", 2, "yes"), ("a", 3, "no")],
    columns=["task", "worker", "label"],
)
CROWD = CrowdLabels.from_frame(FRAME)


def test_labels_come_as_a_series_by_task() -> None:
    labels = fit_predict(FRAME, "mv")
    assert labels.to_dict() == {"a": "yes", "b": "no"}
    assert (labels.name, labels.index.name) == ("agg_label", "task")


def test_probabilities_come_as_a_frame_by_task_and_label() -> None:
    shares = fit_predict_proba(FRAME, "mv")
    assert shares.loc["a", "yes"] == pytest.approx(2 / 3)
    assert shares.index.name == "task"
    assert list(shares.columns) == ["no", "yes"]


def test_methods_are_found_by_name_alias_and_option() -> None:
    frame = simulated(n_items=60)[0].to_frame()
    em = fit_predict_proba(frame)
    assert em.equals(fit_predict_proba(frame, "dawid_skene"))
    hard = fit_predict_proba(frame, "em", hard=True)
    assert hard.equals(fit_predict_proba(frame, "em_hard"))
    assert not hard.equals(em)


def test_repeated_answers_count_by_default_as_in_crowd_kit() -> None:
    twice = pd.concat([FRAME, pd.DataFrame([("b", 3, "yes")] * 2, columns=FRAME.columns)])
    assert fit_predict(twice, "mv")["b"] == "yes"
    assert fit_predict(twice, "mv", repeats="first")["b"] == "no"
    with pytest.raises(ValueError, match="worker 3 labelled item b more than once"):
        fit_predict(twice, "mv", repeats="error")


def test_gold_and_history_reach_the_method() -> None:
    gold = pd.Series({"a": "no", "elsewhere": "yes"})
    assert fit_predict(FRAME, gold=gold)["a"] == "no"
    good = [(3, label, label, 50) for label in ("no", "yes")]
    poor = [(worker, truth, label, 25) for worker in (1, 2) for truth in ("no", "yes") for label in ("no", "yes")]
    history = pd.DataFrame(good + poor, columns=["worker", "truth", "label", "count"])
    assert fit_predict(FRAME, history=history).to_dict() == {"a": "no", "b": "yes"}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean mv"):
        fit_predict(FRAME, "mvv")
    with pytest.raises(UnknownNameError, match="did you mean max_iter"):
        fit_predict(FRAME, "em", max_itr=3)
    with pytest.raises(UnknownNameError, match="'labnet' trains networks"):
        fit_predict(FRAME, "labnet")


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_the_consensus_of_very_many_classes_has_the_probability_of_the_label(tmp_path: Path, name: str) -> None:
    n = MOST_CLASSES + 1
    answers = pd.DataFrame({"task": np.arange(n), "worker": "a", "label": np.arange(n)})
    second = pd.DataFrame({"task": [0, 1], "worker": ["b", "b"], "label": [7, 1]})
    crowd = CrowdLabels.from_frame(pd.concat([answers, second]))
    result = MajorityVote().fit(crowd)
    frame = consensus_frame(crowd, result)
    assert list(frame) == ["task", "label", "probability", "doubt"]
    assert frame["probability"].tolist() == [0.5] + [1.0] * (n - 1)
    write_tables({str(tmp_path / name): frame})
    prior = read_prior(tmp_path / name, crowd)
    assert prior.shape == (n, n)
    assert prior[0, 0] == 0.5
    assert prior[0, 1:] == pytest.approx(0.5 / (n - 1))
    assert (prior[1:] == np.eye(n)[1:]).all()


def test_up_to_a_thousand_classes_each_class_has_a_column() -> None:
    n = MOST_CLASSES
    crowd = CrowdLabels.from_frame(pd.DataFrame({"task": np.arange(n), "worker": "a", "label": np.arange(n)}))
    assert len(consensus_frame(crowd, MajorityVote().fit(crowd)).columns) == n + 3


@pytest.mark.parametrize(
    ("row", "says"),
    [("0,maybe,0.5", "line 2: label maybe is not a class"), ("0,no,1.5", r"line 2: a probability must be in \[0, 1\]")],
)
def test_a_prior_of_labels_that_does_not_fit_is_named(tmp_path: Path, row: str, says: str) -> None:
    (tmp_path / "prior.csv").write_text(f"task,label,probability\n{row}\n")
    with pytest.raises(FileError, match=says):
        read_prior(tmp_path / "prior.csv", CROWD)


def test_tables_by_hand() -> None:
    result = MajorityVote().fit(CROWD)
    consensus = consensus_frame(CROWD, result)
    assert consensus.columns.tolist() == ["task", "label", "p_no", "p_yes", "doubt"]
    assert consensus.iloc[0].tolist()[:4] == ["a", "yes", pytest.approx(1 / 3), pytest.approx(2 / 3)]
    workers = workers_frame(CROWD, result)
    assert workers[["worker", "n_labels"]].to_numpy().tolist() == [[1, 2], [2, 2], [3, 2]]
    doubtful = doubtful_labels_frame(CROWD, result)
    assert doubtful.columns.tolist() == ["task", "worker", "label", "consensus", "p_wrong"]
    assert doubtful[:2].to_numpy().tolist() == [
        ["b", 3, "yes", "no", pytest.approx(2 / 3)],
        ["a", 3, "no", "yes", pytest.approx(2 / 3)],
    ]


@given(crowds())
def test_the_confusion_table_is_the_history_of_the_next_crowd(crowd: CrowdLabels) -> None:
    result = DawidSkene(max_iter=3).fit(crowd)
    table = confusion_frame(crowd, result)
    assert table["probability"].to_numpy() == pytest.approx(result.confusion.ravel())
    assert table["count"].sum() == pytest.approx(crowd.n_annotations)
    later = with_history(crowd, table.sample(frac=1, random_state=0))
    assert later.history is not None
    assert later.history.ravel() == pytest.approx(table["count"].to_numpy())


def test_an_interval_of_the_quality_is_two_more_columns() -> None:
    result = replace(MajorityVote().fit(CROWD), worker_quality_interval=np.array([[0.1, 0.9]] * 3))
    assert workers_frame(CROWD, result)[["quality_low", "quality_high"]].to_numpy().tolist() == [[0.1, 0.9]] * 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            pd.Series({"c": "no"}),
            "none of the 1 tasks .* is in the crowd: the labels have c, the crowd has a",
        ),
        (pd.Series({"a": "maybe"}), "gold labels maybe are not among the classes no, yes"),
        (pd.Series(["no", "yes"], index=["a", "a"]), "the known labels have task a more than once"),
    ],
)
def test_gold_labels_that_do_not_fit_are_refused(labels: pd.Series, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_gold(CROWD, labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truth": "maybe"}, "history: truth maybe is not a class of the crowd"),
        ({"count": -1.0}, "history must hold finite counts of at least 0"),
        ({"count": None}, "'count' is missing"),
    ],
)
def test_histories_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    frame = pd.DataFrame([(1, "no", "no", 1.0)], columns=["worker", "truth", "label", "count"]).assign(**changes)
    with pytest.raises(ValueError, match=message):
        with_history(CROWD, frame.dropna(axis=1))


def test_ids_of_other_types_are_matched_as_text() -> None:
    crowd = CrowdLabels.from_frame(FRAME.assign(task=["7"] * 3 + ["8"] * 3))
    gold = with_gold(crowd, pd.Series({8: "no"})).gold
    assert gold is not None
    assert gold.tolist() == [-1, 0]


def test_gold_of_a_real_crowd_helps(data_root) -> None:
    frame = pd.read_csv(data_root / "crowds" / "zc_us.csv")
    truth = pd.read_csv(data_root / "crowds" / "zc_us_truth.csv").set_index("task")["label"]
    told, asked = truth.iloc[::4], truth.drop(truth.index[::4])
    plain = (fit_predict(frame, "em")[asked.index] == asked).mean()
    helped = (fit_predict(frame, "em", gold=told)[asked.index] == asked).mean()
    assert plain == pytest.approx(0.8225, abs=0.01)
    assert helped > plain + 0.02
