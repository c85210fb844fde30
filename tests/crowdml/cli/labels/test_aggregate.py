from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crowdml.aggregation import DawidSkene, MajorityVote
from crowdml.aggregation.aggregator import Aggregation
from crowdml.cli.labels.compare import ComparedMethod, chosen_methods, comparison
from crowdml.cli.labels.summary import accuracy
from crowdml.cli.main import main
from crowdml.files import read_crowd, write_tables
from crowdml.labels import CrowdLabels
from crowdml.methods.from_frames import fit_predict
from crowdml.methods.registry import REGISTRY
from crowdml.support.device_info import peak_memory_mb, reset_peak_memory
from tests.crowds import simulated


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with answers.csv (string ids) and truth.csv."""
    monkeypatch.chdir(tmp_path)
    crowd, truth = simulated(n_items=120, n_workers=6, n_classes=3)
    frame = crowd.to_frame().assign(
        task=lambda f: "t" + f["task"].astype(str), worker=lambda f: "w" + f["worker"].astype(str)
    )
    write_tables(
        {
            "answers.csv": frame,
            "truth.csv": pd.DataFrame({"task": [f"t{item}" for item in range(120)], "label": truth}),
        }
    )
    return tmp_path


def run(line: str) -> int:
    return main(line.split())


def test_tables_hold_what_the_method_says(folder: Path) -> None:
    assert (
        run(
            "aggregate answers.csv --method dawid_skene --out labels.parquet --workers workers.csv "
            "--confusion confusion.jsonl --doubtful-labels doubt.csv.gz"
        )
        == 0
    )
    crowd = read_crowd("answers.csv")
    result = DawidSkene().fit(crowd)
    labels = pd.read_parquet("labels.parquet")
    assert labels.columns.tolist() == ["task", "label", "p_0", "p_1", "p_2", "doubt"]
    assert labels["label"].tolist() == result.labels.tolist()
    assert labels[["p_0", "p_1", "p_2"]].to_numpy() == pytest.approx(result.posterior)
    assert labels["task"].tolist() == sorted(f"t{item}" for item in range(120))
    workers = pd.read_csv("workers.csv")
    assert workers["quality"].to_numpy() == pytest.approx(result.worker_quality)
    assert workers["n_labels"].tolist() == [120] * 6
    confusion = pd.read_json("confusion.jsonl", lines=True)
    assert confusion["probability"].to_numpy() == pytest.approx(result.confusion.ravel())
    wrong = pd.read_csv("doubt.csv.gz")["p_wrong"]
    assert len(wrong) == crowd.n_annotations
    assert wrong.is_monotonic_decreasing


def test_summary_says_what_a_person_wants_to_know(folder: Path, capsys) -> None:
    assert run("aggregate answers.csv --truth truth.csv") == 0
    out = capsys.readouterr().out
    for words in (
        "answers.csv: 720 labels of 120 items by 6 workers, 3 classes (0, 1, 2)",
        "labels per item 6.00 (6 to 6)",
        "Fleiss' kappa",
        "Krippendorff's alpha",
        "converged at iteration",
        "on 120 items",
        "worst workers",
        "nothing written",
    ):
        assert words in out
    assert out.index("w0 ") < out.index("w1 ")  # the worst first


def test_standard_output_gets_the_table_alone(folder: Path, capfd) -> None:
    assert run("aggregate answers.csv --method mv --out -") == 0
    captured = capfd.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "task,label,p_0,p_1,p_2,doubt"
    assert len(lines) == 121
    assert "worst workers" in captured.err


def test_columns_classes_and_repeats(folder: Path) -> None:
    Path("odd.csv").write_text("q,who,says\n007,a,2\n007,a,2\n007,b,1\n8,a,1\n")
    names = "--task-column q --worker-column who --label-column says"
    assert run(f"aggregate odd.csv {names} --method mv --repeats keep --classes 2 1 0 --out labels.csv") == 0
    table = pd.read_csv("labels.csv", dtype=str)
    assert table.columns.tolist() == ["q", "says", "p_2", "p_1", "p_0", "doubt"]
    assert table[["q", "says"]].to_numpy().tolist() == [["007", "2"], ["8", "1"]]


def test_options_ties_and_seed_reach_the_method(folder: Path) -> None:
    assert (
        run("aggregate answers.csv --ties random --seed 3 --option max_iter=2 hard=true init=majority --out l.csv") == 0
    )
    crowd = read_crowd("answers.csv")
    expected = DawidSkene(ties="random", seed=3, max_iter=2, hard=True, init="majority").fit(crowd)
    assert pd.read_csv("l.csv")["label"].tolist() == expected.labels.tolist()


def test_gold_labels_are_kept_and_not_scored(folder: Path, capsys) -> None:
    truth = pd.read_csv("truth.csv")
    gold = truth[:10].assign(label=(truth["label"][:10] + 1) % 3)
    gold.to_csv("gold.csv", index=False)
    assert run("aggregate answers.csv --gold gold.csv --truth truth.csv --out labels.csv") == 0
    labels = pd.read_csv("labels.csv").set_index("task")["label"]
    assert labels[gold["task"]].tolist() == gold["label"].tolist()
    out = capsys.readouterr().out
    assert "gold labels     10 items" in out
    assert "on 110 items" in out


def test_the_confusion_of_one_day_is_the_history_of_the_next(folder: Path, capsys) -> None:
    assert run("aggregate answers.csv --confusion yesterday.csv") == 0
    assert run("aggregate answers.csv --history yesterday.csv --confusion both.csv") == 0
    assert "history         6 workers, 720 answers" in capsys.readouterr().out
    assert pd.read_csv("both.csv")["count"].sum() == pytest.approx(1440)


def test_a_prior_of_classes_or_of_items(folder: Path) -> None:
    crowd = read_crowd("answers.csv")
    assert run("aggregate answers.csv --prior 0.6 0.3 0.1 --out first.csv") == 0
    first = DawidSkene().fit(crowd, [0.6, 0.3, 0.1])
    assert pd.read_csv("first.csv")["p_0"].to_numpy() == pytest.approx(first.posterior[:, 0])
    pd.read_csv("first.csv").sample(frac=1, random_state=0).to_csv("shuffled.csv", index=False)
    assert run("aggregate answers.csv --prior shuffled.csv --out second.csv") == 0
    second = DawidSkene().fit(crowd, first.posterior)
    assert pd.read_csv("second.csv")["p_0"].to_numpy() == pytest.approx(second.posterior[:, 0], abs=1e-6)


BAD = [
    ("agregate answers.csv", "unknown command 'agregate'; did you mean aggregate?"),
    ("aggregate", "the following arguments are required: ANSWERS; see crowdml aggregate --help"),
    ("aggregate nothing.csv", "nothing.csv: no such file"),
    ("aggregate answers.csv --method one_coim", "unknown method 'one_coim'; did you mean one_coin"),
    ("aggregate answers.csv --method labnet", "method 'labnet' trains networks"),
    ("aggregate answers.csv --label-column says", "column 'says' is missing; the file has task, worker, label"),
    ("aggregate answers.csv --classes 0 1", "answers.csv, line 6: column 'label' holds '2', which is not among"),
    ("aggregate answers.csv --option max_itr=3", "unknown option of method em 'max_itr'; did you mean max_iter?"),
    ("aggregate answers.csv --option max_iter=few", "option max_iter must be a whole number, got 'few'"),
    ("aggregate answers.csv --option max_iter=true", "option max_iter must be a whole number, got 'true'"),
    ("aggregate answers.csv --option hard=1", "option hard must be true or false, got '1'"),
    ("aggregate answers.csv --option tol=tiny", "option tol must be a number, got 'tiny'"),
    ("aggregate answers.csv --option max_iter", "an option is written NAME=VALUE, got 'max_iter'"),
    ("aggregate answers.csv --option max_iter=0", "max_iter must be at least 1, got 0"),
    ("aggregate answers.csv --prior 0.5 0.5", "--prior must be one number for each of the 3 classes 0, 1, 2"),
    ("aggregate answers.csv --prior short.csv", "short.csv: 119 tasks have no prior, the first is t1"),
    ("aggregate answers.csv --prior twice.csv", "twice.csv, line 3: task t0 occurs more than once"),
    ("aggregate answers.csv --gold elsewhere.csv", "none of the 1 tasks with a known label is in the crowd"),
    ("aggregate answers.csv --gold truth.csv --truth truth.csv", "every task with a true label is among the gold"),
    ("aggregate answers.csv --out x.csv --workers x.csv", "each output needs its own file, got x.csv, x.csv"),
    ("aggregate answers.csv --out labels.xls", "labels.xls: the ending must be one of"),
    ("aggregate answers.csv --out absent/labels.csv", "the folder absent does not exist"),
    ("aggregate answers.csv --compare all --workers w.csv", "--compare writes one table, to --out"),
    ("aggregate answers.csv --compare mv emm", "unknown method 'emm'"),
    ("aggregate answers.csv --engine ray --gold truth.csv", "--engine ray cannot take --gold"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(folder: Path, capsys, line: str, message: str):
    Path("short.csv").write_text("task,p_0,p_1,p_2\nt0,1,0,0\n")
    Path("twice.csv").write_text("task,p_0,p_1,p_2\nt0,1,0,0\nt0,0,1,0\n")
    Path("elsewhere.csv").write_text("task,label\nx,1\n")
    before = sorted(os.listdir(folder))
    try:
        code = run(line)
    except SystemExit as left:
        code = left.code
    assert code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("crowdml")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(os.listdir(folder)) == before


def test_an_interruption_writes_nothing(folder: Path, monkeypatch, capsys) -> None:
    def stop(self: DawidSkene, crowd: CrowdLabels, prior: object = None) -> Aggregation:
        raise KeyboardInterrupt

    monkeypatch.setattr(DawidSkene, "fit", stop)
    before = sorted(os.listdir(folder))
    assert run("aggregate answers.csv --out labels.csv") == 130
    assert capsys.readouterr().err == "crowdml aggregate: stopped\n"
    assert sorted(os.listdir(folder)) == before


# ---------------------------------------------------------------- comparing


def test_all_methods_are_all_aggregators() -> None:
    assert chosen_methods(["all"]) == [name for name, entry in REGISTRY.items() if entry.kind == "aggregator"]
    assert chosen_methods(["em", "mv", "em"]) == ["em", "mv"]


def test_a_comparison_by_hand() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [0, 1], [1, 1]]), n_classes=2)
    lowest, first = MajorityVote().fit(crowd), MajorityVote(ties="first").fit(crowd, [0.1, 0.9])
    outcomes = [
        ComparedMethod("a", lowest, 1.5),
        ComparedMethod("b", None, 0.0, "binary only"),
        ComparedMethod("c", first, 0.5),
    ]
    table = comparison(outcomes, np.array([0, 1, -1]))
    assert table["refusal"].tolist() == ["", "binary only", ""]
    assert table["accuracy"].tolist() == [0.5, pytest.approx(np.nan, nan_ok=True), 0.5]
    assert table["accuracy_se"][0] == pytest.approx(np.sqrt(0.5 * 0.5 / 2))
    assert table.loc[[0, 2], ["same_a", "same_c"]].to_numpy().tolist() == [[1, 1], [1, 1]]


def test_accuracy_counts_known_items_only() -> None:
    assert accuracy(np.array([0, 1, 1, 1]), np.array([0, 1, 0, -1])) == (
        pytest.approx(2 / 3),
        pytest.approx(np.sqrt(2 / 27)),
    )


def test_methods_side_by_side(folder: Path, capsys) -> None:
    assert run("aggregate answers.csv --compare mv em em_hard --truth truth.csv --out table.csv") == 0
    out = capsys.readouterr().out
    assert "items with the same label" in out
    table = pd.read_csv("table.csv").set_index("method")
    crowd = read_crowd("answers.csv")
    truth = pd.read_csv("truth.csv").set_index("task")["label"].reindex(crowd.item_ids).to_numpy()
    vote, em = MajorityVote().fit(crowd).labels, DawidSkene().fit(crowd).labels
    assert table.loc["mv", "accuracy"] == pytest.approx((vote == truth).mean())
    assert table.loc["em", "same_mv"] == pytest.approx((vote == em).mean())
    assert table.loc["em", "same_em"] == 1


def test_a_method_that_refuses_is_listed_with_its_reason(folder: Path, monkeypatch, capsys) -> None:
    def refuse(self: MajorityVote, crowd: CrowdLabels, prior: object = None) -> Aggregation:
        raise ValueError("mv is defined for 2 classes only")

    monkeypatch.setattr(MajorityVote, "fit", refuse)
    assert run("aggregate answers.csv --compare mv em --out table.csv") == 0
    assert "not mv: mv is defined for 2 classes only" in capsys.readouterr().out
    assert pd.read_csv("table.csv")["refusal"][0] == "mv is defined for 2 classes only"


def test_real_crowd_from_its_file(data_root, capsys) -> None:
    crowds = data_root / "crowds"
    assert run(f"aggregate {crowds}/bluebird.csv --truth {crowds}/bluebird_truth.csv --method em") == 0
    assert "accuracy        0.8981 ± 0.0291 on 108 items" in capsys.readouterr().out


def test_a_tied_task_gets_no_label_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"task": [1, 1, 2, 2], "worker": list("abab"), "label": [4, 5, 5, 5]})
    truth = pd.DataFrame({"task": [1, 2], "label": [4, 5]})
    write_tables({"tied.csv": frame, "right.csv": truth})
    assert run("aggregate tied.csv --method mv --ties abstain --out out.csv --truth right.csv") == 0
    assert Path("out.csv").read_text().splitlines()[1:] == ["1,,0.5,0.5,1", "2,5,0,1,0"]
    printed = capsys.readouterr().out
    assert "no label        1 tied items" in printed
    assert "accuracy        1.0000 ± 0.0000 on 1 items" in printed
    assert fit_predict(frame, "mv", ties="abstain").isna().tolist() == [True, False]


def test_an_agreement_that_is_not_defined_has_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    data = Path(__file__).parents[3] / "data" / "alpha_nan.csv"
    assert main(["aggregate", str(data), "--method", "mv"]) == 0
    reason = "all labels of the only item with two labels or more are 0, so agreement by chance is perfect"
    assert f"Fleiss' kappa 1.000, Krippendorff's alpha not defined: {reason}" in capsys.readouterr().out


def test_six_thousand_classes_need_little_memory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = np.arange(3000)
    labels = [[f"text {i}", f"text {i}", f"text {i}!"] for i in task]
    frame = pd.DataFrame({"task": np.repeat(task, 3), "worker": list("abc") * 3000, "label": np.concatenate(labels)})
    write_tables({"texts.csv": frame})
    reset_peak_memory()
    before = peak_memory_mb()
    assert run("aggregate texts.csv --method mv") == 0
    assert peak_memory_mb() - before < 150
    assert "6000 classes" in capsys.readouterr().out


def test_what_cannot_fit_is_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n = 200_000
    write_tables(
        {"wide.csv": pd.DataFrame({"task": np.arange(n) % 100, "worker": np.arange(n), "label": np.arange(n)})}
    )
    assert run("aggregate wide.csv --method em") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "200,000 workers with 200,000 classes needs about" in lines[0]
    assert "use method mv" in lines[0]


def test_probabilities_of_very_many_classes_are_left_out_with_a_notice(folder: Path, capsys) -> None:
    n = 1001
    pd.DataFrame({"task": range(n), "worker": "a", "label": range(n)}).to_csv("many.csv", index=False)
    assert run("aggregate many.csv --method mv --out out.csv") == 0
    assert "out.csv has the probability of each label, but no columns p_<class>" in capsys.readouterr().out
    assert list(pd.read_csv("out.csv")) == ["task", "label", "probability", "doubt"]
    assert run("aggregate many.csv --method mv --prior out.csv --out again.csv") == 0


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_labels_of_which_some_are_tied_are_truth_and_gold(folder: Path, capsys, caplog, ending: str) -> None:
    Path("tied.csv").write_text("task,worker,label\n1,a,x\n1,b,y\n2,a,x\n2,b,x\n")
    assert run(f"aggregate tied.csv --method mv --ties abstain --out o.{ending}") == 0
    assert run(f"aggregate tied.csv --method mv --truth o.{ending}") == 0
    assert "accuracy        1.0000 ± 0.0000 on 1 items" in capsys.readouterr().out
    assert f"o.{ending}: 1 rows have no label and are left out" in caplog.text
    assert run(f"aggregate tied.csv --method em --gold o.{ending}") == 0
    assert "gold labels     1 items" in capsys.readouterr().out


def test_a_crowd_of_ties_says_so_everywhere(folder: Path, capsys) -> None:
    Path("ties.csv").write_text("task,worker,label\n1,a,x\n1,b,y\n2,a,x\n2,b,y\n")
    Path("ties_truth.csv").write_text("task,label\n1,x\n2,y\n")
    assert run("aggregate ties.csv --method mv --ties abstain --truth ties_truth.csv --out o.csv") == 0
    assert "accuracy        not defined on 0 items" in capsys.readouterr().out
    assert run("aggregate ties.csv --compare mv em --ties abstain --truth ties_truth.csv") == 0
    printed = capsys.readouterr().out
    assert "not defined" in printed
    assert "nan" not in printed
    assert run("aggregate ties.csv --truth o.csv") == 2
    assert "o.csv: all 2 rows have no label" in capsys.readouterr().err
    assert run("plan ties.csv --method mv --ties abstain --enough e.csv") == 2
    assert "every item is tied" in capsys.readouterr().err


def test_an_output_never_replaces_the_answers(folder: Path, capsys) -> None:
    text = "task,worker,label\n1,a,x\n"
    Path("mine.csv").write_text(text)
    for line in ("aggregate mine.csv --out ./mine.csv", "plan mine.csv --next mine.csv"):
        assert run(line) == 2
        assert "the output would replace the answers" in capsys.readouterr().err
    assert Path("mine.csv").read_text() == text


def test_a_prior_whose_sum_is_infinite_is_refused(folder: Path, capsys) -> None:
    Path("two.csv").write_text("task,worker,label\n1,a,x\n2,a,y\n")
    assert run("aggregate two.csv --prior 1e308 1e308") == 2
    assert "prior must have a finite sum" in capsys.readouterr().err
