from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from crowdml.aggregation import DawidSkene, MajorityVote
from crowdml.files.frames import confusion_frame, consensus_frame, doubtful_labels_frame, workers_frame
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
