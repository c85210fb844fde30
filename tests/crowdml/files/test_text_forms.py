"""Ids and classes of every type and file format meet in one text form."""

from __future__ import annotations

import datetime as dt
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml import fit_predict
from crowdml.aggregation import MajorityVote, MinimaxOrdinal
from crowdml.cli.labels.summary import accuracy
from crowdml.cli.main import main
from crowdml.files import FileError, FileForm, read_crowd, read_labels, read_prior, write_tables
from crowdml.files.frames import confusion_frame, consensus_frame
from crowdml.files.gold_and_history import true_classes, with_gold, with_history
from crowdml.labels import CrowdLabels
from crowdml.quality.agreement import krippendorff_alpha
from crowdml.support.value_text import lookup, text_of, texts, typed

# One crowd: task 2 has the second class, the other tasks have the first class.
VALUES: dict[str, tuple[list[Any], str | None]] = {
    "int64": ([1, 2, 3], "int64"),
    "int8": ([-1, 2, 3], "int8"),
    "above 2**53": ([2**53 + 1, 2**53 + 2, 2**53 + 3], "int64"),
    "uint64": ([2**63 + 1, 2**63 + 2, 2**63 + 3], "uint64"),
    "float64 of whole numbers": ([1.0, 2.0, 10.0], "float64"),
    "float64": ([0.1, 1e-5, 2.0], "float64"),
    "float64 of all digits": ([0.1 + 0.2, 0.3, 1 / 3], "float64"),
    "float32": ([0.1, 0.2, 3.0], "float32"),
    "Int64": ([1, 2, 3], "Int64"),
    "Float64": ([1.0, 2.5, 3.0], "Float64"),
    "text": (["a", "b", "c"], None),
    "text with zeros": (["01", "1", "001"], None),
    "text like numbers": (["1e3", "1000", "1.10"], None),
    "string": (["é", 'b"c', "d,e"], "string"),
    "datetime64": (list(pd.date_range("2024-05-01", periods=3, freq="13h")), "datetime64[ns]"),
    "dates": ([dt.date(2024, 5, 1), dt.date(2024, 5, 2), dt.date(2023, 5, 1)], None),
    "time zone": (list(pd.date_range("2024-05-01 10:00", periods=3, tz="Europe/Berlin")), None),
    "bytes": ([b"a", b"b", b"c"], None),
    "bytes that are no text": ([b"\xff", b"\xfe", b"\xfd"], None),
    "Decimal": ([Decimal("1.00"), Decimal("2.50"), Decimal("3.00")], None),
    "category": (["low", "mid", "high"], "category"),
    "category of floats": ([1.0, 2.0, 3.0], "category"),
}  # fmt: skip
CLASSES = {name: (values[:2], kind) for name, (values, kind) in VALUES.items()} | {
    "bool": ([True, False], "bool"),
    "boolean": ([True, False], "boolean"),
    "bool objects": ([True, False], "object"),
}
FORMATS = (".csv", ".csv.gz", ".jsonl", ".parquet")


def answers(ids: str, labels: str) -> pd.DataFrame:
    (tasks, id_type), ((first, second), label_type) = VALUES[ids], CLASSES[labels]
    rows = [(task, who, second if at == 1 else first) for at, task in enumerate(tasks) for who in range(3)]
    rows[0] = (*rows[0][:2], second)
    task, worker, label = zip(*rows, strict=True)
    made = {"task": pd.Series(task, dtype=id_type), "worker": pd.Series([tasks[who] for who in worker], dtype=id_type)}
    return pd.DataFrame(made | {"label": pd.Series(label, dtype=label_type)})


def write_plainly(frame: pd.DataFrame, path: Path) -> None:
    """Write a file as other programs do."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, double_precision=15, date_format="iso")
    else:
        frame.to_csv(path, index=False)


def check_read_back(crowd: CrowdLabels, folder: Path, ending: str) -> None:
    """Majority vote is right about its own output, and its output is gold, history and prior."""
    result = MajorityVote().fit(crowd)
    out, confusion = folder / f"out{ending}", folder / f"confusion{ending}"
    write_tables({str(out): consensus_frame(crowd, result), str(confusion): confusion_frame(crowd, result)})
    truth = true_classes(crowd, read_labels(out))
    assert accuracy(result.labels, truth) == (1.0, 0.0)
    assert (truth >= 0).all()
    assert with_gold(crowd, read_labels(out)).gold == pytest.approx(result.labels)
    assert read_prior(out, crowd) == pytest.approx(result.posterior)
    counts = confusion_frame(crowd, result)["count"].to_numpy()
    again = crowd.to_frame()
    later = with_history(CrowdLabels.from_frame(again), confusion_frame(crowd, result)).history
    assert later is not None
    assert later.ravel() == pytest.approx(counts)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("labels", list(CLASSES))
def test_own_output_is_read_back_for_every_type_of_ids_and_labels(tmp_path: Path, labels: str, ending: str) -> None:
    ids = labels if labels in VALUES else "int64"
    frame = answers(ids, labels)
    check_read_back(CrowdLabels.from_frame(frame), tmp_path, ending)
    for source in (".csv", ".parquet", ".jsonl"):
        if source == ".jsonl" and ("bytes" in labels or labels == "float64 of all digits"):
            continue  # JSON has no bytes, and pandas cuts digits
        path = tmp_path / f"answers{source}"
        write_plainly(frame, path)
        crowd = read_crowd(path)
        assert (crowd.n_items, crowd.n_workers, crowd.n_classes) == (3, 3, 2)
        check_read_back(crowd, tmp_path, ending)
        out, confusion = tmp_path / f"out{ending}", tmp_path / f"confusion{ending}"
        known = read_crowd(path, gold=out, history=confusion)
        assert known.gold is not None
        assert known.history is not None
        assert known.history.sum() == pytest.approx(9)


@pytest.mark.parametrize("labels", ["bool", "float64 of whole numbers", "datetime64", "uint64", "Decimal"])
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_the_command_line_reads_its_own_output(tmp_path: Path, monkeypatch, capsys, labels: str, ending: str) -> None:
    monkeypatch.chdir(tmp_path)
    answers("float64 of whole numbers", labels).to_parquet("a.parquet")
    files = f"--out o{ending} --confusion c{ending}"
    assert main(f"aggregate a.parquet --method mv {files}".split()) == 0
    for option in ("", f"--history c{ending}", f"--prior o{ending}", f"--compare mv wawa --prior o{ending}"):
        capsys.readouterr()
        assert main(f"aggregate a.parquet --method mv --truth o{ending} {option}".split()) == 0
        assert "1.0000 ± 0.0000" in capsys.readouterr().out
    assert main(f"aggregate a.parquet --method mv --gold o{ending}".split()) == 0
    assert main(f"plan a.parquet --method mv --truth o{ending} --enough e.csv".split()) == 0


def test_gold_and_truth_meet_the_frame_of_another_type() -> None:
    frame = answers("float64 of whole numbers", "bool")
    gold = pd.Series(["TRUE", "false"], index=["1", "10"])
    assert fit_predict(frame, "mv", gold=gold).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (1.0, "1"), (np.float32(0.1), "0.1"), (1e-5, "1e-05"), (2**63 + 1, "9223372036854775809"),
        (True, "true"), (np.False_, "false"), (Decimal("1.50"), "1.5"), (Decimal("2.0"), "2"), (b"yes", "yes"),
        (b"\xff", "0xff"), (-0.0, "0"), ("01", "01"), (dt.date(2024, 5, 1), "2024-05-01"),
        (pd.Timestamp("2024-05-01"), "2024-05-01"), (np.datetime64("2024-05-01T10:00:00.500"), "2024-05-01 10:00:00.5"),
        (pd.Timestamp("2024-05-01 02:00", tz="Europe/Berlin"), "2024-05-01 00:00:00+00:00"),
    ],
)  # fmt: skip
def test_values_have_one_text_form(value: Any, text: str) -> None:
    assert text_of(value) == text
    assert texts([value]).tolist() == [text]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["1", "1.0", "2.00"], [1, 1, 2]),
        (["0.5", "-1.25", "2"], [0.5, -1.25, 2.0]),
        (["true", "FALSE", "True"], [True, False, True]),
        (["9223372036854775809"], [9223372036854775809]),
        (["01", "1"], ["01", "1"]),
        (["1e3", "1000"], ["1e3", "1000"]),
        (["1.9", "1.10"], ["1.9", "1.10"]),
        (["True", "maybe"], ["True", "maybe"]),
        (["1", "true"], ["1", "true"]),
        (["0.1234567890123456789", "1"], ["0.1234567890123456789", "1"]),
        (["99999999999999999999999", "1"], ["99999999999999999999999", "1"]),
        (["9" * 5000, "1.0"], ["9" * 5000, "1.0"]),
    ],
)
def test_a_column_of_text_is_numbers_only_as_a_whole(words: list[str], values: list[Any]) -> None:
    found = typed(words).tolist()
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_what_text_says_finds_a_name_unless_two_names_say_the_same() -> None:
    assert lookup(["1.0", "n/a"], [1, "1"]).tolist() == [0, 0]
    assert lookup([1, 2], ["1.0", "01", "x"]).tolist() == [0, -1, -1]
    assert lookup(["True", "unsure"], [True]).tolist() == [0]
    assert lookup(["True", "TRUE", "unsure"], ["true", "TRUE"]).tolist() == [-1, 1]
    assert lookup([2**53, 2**53 + 1], [float(2**53)]).tolist() == [0]


@given(st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, unique=True))
def test_whole_numbers_are_exact(numbers: list[int]) -> None:
    words = list(map(str, numbers))
    assert texts(typed(words)).tolist() == words


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, unique=True))
def test_numbers_come_back_from_their_text(numbers: list[float]) -> None:
    assert lookup(np.array(numbers), texts(np.array(numbers))).tolist() == list(range(len(numbers)))


# ---------------------------------------------------------------- true labels that are no class


def test_true_labels_that_are_no_class_are_named_and_counted(tmp_path: Path, monkeypatch, capsys, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("task,worker,label\n1,a,x\n1,b,x\n2,a,y\n2,b,y\n")
    Path("t.csv").write_text("task,label\n1,x\n2,Z\n3,Q\n")
    Path("none.csv").write_text("task,label\n1,X1\n2,Z\n")
    for command in ("aggregate a.csv --method mv", "aggregate a.csv --compare mv", "plan a.csv --enough e.csv"):
        caplog.clear()
        assert main(f"{command} --truth t.csv".split()) == 0
        assert "t.csv: 1 of 2 true labels are no class of the crowd and count as wrong: Z" in caplog.text
        assert main(f"{command} --truth none.csv".split()) == 2
        assert (
            "none.csv: none of the 2 true labels is a class of the crowd: the labels are X1, Z"
            in capsys.readouterr().err
        )


# ---------------------------------------------------------------- the order of classes


@pytest.mark.parametrize("kind", ["float", "int", "text", "float text"])
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl", "frame"])
def test_numbers_sort_as_numbers_in_every_format(tmp_path: Path, kind: str, ending: str, caplog) -> None:
    frame = pd.read_parquet(Path(__file__).parents[2] / "data" / "likert.parquet")
    changes = {"float": float, "int": int, "text": int, "float text": float}
    frame["label"] = frame["label"].astype(changes[kind])
    if "text" in kind:
        frame["label"] = frame["label"].astype(str)
    if ending == "frame":
        crowd = CrowdLabels.from_frame(frame)
    else:
        write_plainly(frame, tmp_path / f"a{ending}")
        crowd = read_crowd(tmp_path / f"a{ending}")
    assert crowd.class_names is not None
    assert [float(name) for name in crowd.class_names] == list(range(1, 11))
    assert krippendorff_alpha(crowd, "ordinal") == pytest.approx(0.9331, abs=5e-5)  # krippendorff 0.9.0
    assert krippendorff_alpha(crowd, "interval") == pytest.approx(0.9402, abs=5e-5)
    assert not caplog.text


def test_ordered_categories_keep_their_order_and_others_are_sorted(tmp_path: Path) -> None:
    frame = pd.DataFrame({"task": [1, 2, 3, 4], "worker": "a", "label": ["high", "low", "mid", "low"]})
    levels = ["never", "low", "mid", "high"]
    for ordered, names in ((True, ["low", "mid", "high"]), (False, ["high", "low", "mid"])):
        frame["label"] = pd.Categorical(frame["label"], categories=levels, ordered=ordered)
        frame.to_parquet(tmp_path / "a.parquet")
        for crowd in (CrowdLabels.from_frame(frame), read_crowd(tmp_path / "a.parquet")):
            assert crowd.class_names is not None
            assert crowd.class_names.tolist() == names
            assert crowd.is_ordered is ordered
            assert crowd.to_frame()["label"].tolist() == frame["label"].tolist()
    table = pa.table({"task": [1, 2], "worker": ["a", "a"], "label": pa.array(["b", "a"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "b.parquet")
    assert read_crowd(tmp_path / "b.parquet").to_frame()["label"].tolist() == ["b", "a"]


def test_a_method_that_uses_an_order_nobody_gave_says_so(caplog) -> None:
    frame = pd.DataFrame({"task": [1, 1, 2, 2], "worker": ["a", "b"] * 2, "label": ["lo", "hi1", "mid1", "mid1"]})
    krippendorff_alpha(CrowdLabels.from_frame(frame, class_names=["lo", "mid1", "hi1"]), "ordinal")
    krippendorff_alpha(CrowdLabels.from_frame(frame), "nominal")
    assert not caplog.text
    krippendorff_alpha(CrowdLabels.from_frame(frame), "ordinal")
    assert "alpha of level ordinal uses the order of the classes, but nobody gave an order" in caplog.text
    MinimaxOrdinal().first_terms(CrowdLabels.from_frame(frame))
    assert "minimax_ordinal uses the order" in caplog.text


# ---------------------------------------------------------------- look-alikes

PAIRS = {
    "a blank at the end": ("yes", "yes "),
    "a double blank": ("a b", "a  b"),
    "a no-break space": ("a b", "a\u00a0b"),
    "NFC and NFD": ("caf\u00e9", "cafe\u0301"),
    "a zero-width space": ("yes", "y\u200bes"),
    "a byte order mark": ("yes", "\ufeffyes"),
}


@pytest.mark.parametrize("column", ["task", "worker", "label"])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_look_alikes_are_named_and_strip_merges_them(tmp_path: Path, pair, column: str, caplog) -> None:
    frame = pd.DataFrame({"task": ["p", "q"], "worker": ["v", "w"], "label": ["x", "y"]}).assign(**{column: pair})
    write_tables({str(tmp_path / "a.csv"): frame})
    number = {"task": "n_items", "worker": "n_workers", "label": "n_classes"}[column]
    for read in (
        lambda **how: read_crowd(tmp_path / "a.csv", **how),
        lambda **how: CrowdLabels.from_frame(frame, **how),
    ):
        caplog.clear()
        assert getattr(read(), number) == 2
        assert f"values of column {column!r} look alike but count as different: {pair[0]!r} and" in caplog.text
        assert "--strip" in caplog.text
        caplog.clear()
        assert getattr(read(strip=True), number) == 1
        assert not caplog.text


def test_labels_that_differ_only_in_case_are_named(tmp_path: Path, caplog) -> None:
    frame = pd.DataFrame({"task": ["p", "P"], "worker": ["v", "w"], "label": ["Yes", "yes"]})
    assert CrowdLabels.from_frame(frame).n_classes == 2
    assert "'label' differ only in case and count as different: 'Yes' and 'yes'" in caplog.text
    assert "'task'" not in caplog.text


def test_blanks_around_names_of_columns_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("task, worker, label\nt1, a, yes\nt1, b, yes \nt2, a, no\n")
    assert read_crowd(tmp_path / "a.csv", strip=True).to_frame()["label"].tolist() == ["yes", "yes", "no"]
    crowd = CrowdLabels.from_frame(pd.read_csv(tmp_path / "a.csv"), strip=True)
    assert crowd.to_frame()["worker"].tolist() == ["a", "b", "a"]


@pytest.mark.parametrize("values", [[1, "1", "a"], [True, "true", "no"], [1.0, "1", "a"], [b"a", "a", "b"]])
def test_values_of_two_types_that_print_alike_are_refused(values: list[Any]) -> None:
    for column in ("task", "worker", "label"):
        frame = pd.DataFrame({"task": [1, 2, 3], "worker": [1, 2, 3], "label": [1, 2, 3]}, dtype=object)
        frame[column] = pd.Series(values, dtype=object)
        with pytest.raises(ValueError, match=f"column {column!r} has .* the same text; use one type"):
            CrowdLabels.from_frame(frame)


def test_classes_that_print_alike_are_refused() -> None:
    for names in ([1, "1"], ["a", "a"], [1, 1.0]):
        with pytest.raises(ValueError, match="have the same text; the classes must differ"):
            CrowdLabels(np.array([0]), np.array([0]), np.array([0]), 1, 1, 2, class_names=np.array(names, object))


def test_a_mixture_of_types_becomes_text() -> None:
    frame = pd.DataFrame({"task": [1, 2, 3], "worker": 1, "label": pd.Series([1, 2.5, "a"], dtype=object)})
    assert CrowdLabels.from_frame(frame).to_frame()["label"].tolist() == ["1", "2.5", "a"]
    frame["label"] = pd.Series([1, 2.5, 2**40], dtype=object)
    assert CrowdLabels.from_frame(frame).to_frame()["label"].tolist() == [1, 2.5, 2**40]


# ---------------------------------------------------------------- skipped answers and repeats


def test_skipped_answers_are_left_out_on_request(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [("1", "a", "x"), ("1", "b", None), ("2", "b", "y"), ("3", "c", None), ("4", "c", "y")]
    frame = pd.DataFrame(rows, columns=["task", "worker", "label"])
    for ending in (".csv", ".jsonl", ".parquet"):
        write_plainly(frame, Path(f"a{ending}"))
        with pytest.raises(FileError, match="column 'label' is empty"):
            read_crowd(f"a{ending}")
        crowd = read_crowd(f"a{ending}", skip_empty=True)
        assert (crowd.n_items, crowd.n_workers, crowd.n_annotations) == (3, 3, 3)
        assert main(f"aggregate a{ending} --method mv --skip-empty".split()) == 0
    with pytest.raises(ValueError, match="skip them with skip_empty=True"):
        CrowdLabels.from_frame(frame)
    assert CrowdLabels.from_frame(frame, skip_empty=True).n_annotations == 3
    assert CrowdLabels.from_frame(frame.fillna(" "), skip_empty=True).n_annotations == 3


def test_a_fault_after_skipped_rows_has_the_right_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("task,worker,label\n1,a,\n1,b,x\n2,b,\n1,b,y\n,b,y\n")
    with pytest.raises(FileError, match=r"line 6: column 'task' is empty"):
        read_crowd(tmp_path / "a.csv", skip_empty=True)
    (tmp_path / "a.csv").write_text("task,worker,label\n1,a,\n1,b,x\n2,b,\n1,b,y\n")
    with pytest.raises(FileError, match=r"line 5: worker b labels task 1 for the second time"):
        read_crowd(tmp_path / "a.csv", skip_empty=True)


def test_json_whose_first_label_is_null(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"task":1,"worker":1,"label":null}\n{"task":2,"worker":1,"label":3}\n')
    assert read_crowd(tmp_path / "a.jsonl", skip_empty=True).to_frame().to_numpy().tolist() == [[2, 1, 3]]
    with pytest.raises(FileError, match="line 1: column 'label' is empty"):
        read_crowd(tmp_path / "a.jsonl")


def test_the_last_of_repeated_labels_is_kept_on_request(tmp_path: Path) -> None:
    frame = pd.DataFrame({"task": [1, 2, 1, 1], "worker": "a", "label": ["x", "x", "y", "z"]})
    write_tables({str(tmp_path / "a.csv"): frame})
    for crowd in (CrowdLabels.from_frame(frame, repeats="last"), read_crowd(tmp_path / "a.csv", repeats="last")):
        assert crowd.to_frame().to_numpy().tolist() == [[2, "a", "x"], [1, "a", "z"]]


# ---------------------------------------------------------------- faults in rows of gold, history and prior


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--prior", "task,p_x,p_y\n1,0.2,0.2\n2,0.5,0.6\n3,0,0\n", "known.csv, line 4: the prior of task 3 must be"),
        ("--prior", "task,p_x,p_y\n1,0.2,0.2\n2,0.5,-1\n3,1,0\n", "known.csv, line 3: the prior of task 2 must be"),
        ("--prior", "task,p_x,p_y\n1,0.2,0.2\n2,0.5,inf\n3,1,0\n", "known.csv, line 3: the prior of task 2 must be"),
        ("--prior", "task,p_x,p_y\n1,1,0\n1.0,0,1\n2,1,0\n3,1,0\n", "known.csv, line 3: task 1 occurs more than once"),
        ("--prior", "task,p_x,p_y\n1,1,0\n", "known.csv: 2 tasks have no prior, the first is 2"),
        ("--gold", "task,label\n1,x\n2,z\n", "known.csv, line 3: gold labels z are not among the classes x, y"),
        ("--gold", "task,label\n7,x\n", "known.csv: the known labels: none of the 1 tasks"),
        ("--gold", "task,label\n1,x\n1.0,y\n", "known.csv, line 3: task 1 occurs for the second time"),
        ("--history", "worker,truth,label,count\na,x,x,1\na,x,z,1\n", "known.csv, line 3: history: label z is not"),
        ("--history", "worker,truth,label,count\na,x,x,1\na,x,y,-1\n", "known.csv, line 3: history must hold finite"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_with_file_and_line(tmp_path: Path, monkeypatch, capsys, option, text, message) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("task,worker,label\n1,a,x\n1,b,y\n2,a,y\n2,b,y\n2,c,y\n3,a,x\n")
    Path("known.csv").write_text(text)
    assert main(f"aggregate a.csv --method em {option} known.csv".split()) == 2
    assert message in capsys.readouterr().err


def test_missing_values_never_become_names() -> None:
    crowd = CrowdLabels.from_frame(answers("text", "text"))
    with pytest.raises(ValueError, match="1 tasks or labels are empty"):
        with_gold(crowd, pd.Series(["a", None], index=["a", "b"]))
    history = pd.DataFrame({"worker": ["a", None], "truth": "a", "label": "a", "count": 1.0})
    with pytest.raises(ValueError, match="column 'worker' has empty values"):
        with_history(crowd, history)
    with pytest.raises(ValueError, match="column 'task' has 1 empty values"):
        CrowdLabels.from_frame(pd.DataFrame({"task": ["nan", "b"], "worker": "a", "label": "x"}))


def test_parts_of_a_folder_may_hold_whole_and_other_numbers(tmp_path: Path) -> None:
    for part, label in (("a", [1, 2]), ("b", [1.0, 2.5]), ("c", [np.uint64(2), np.uint64(1)])):
        pd.DataFrame({"task": [f"{part}1", f"{part}2"], "worker": "w", "label": label}).to_parquet(
            tmp_path / f"{part}.parquet"
        )
    assert read_crowd(tmp_path).to_frame()["label"].tolist() == [1, 2, 1, 2.5, 2, 1]


@pytest.mark.parametrize("numbers", ["1,2.5,3", f"{2**63 + 1},1,2", "1.0,2,3"])
def test_json_numbers_of_every_size_are_one_type(tmp_path: Path, numbers: str) -> None:
    (tmp_path / "a.jsonl").write_text(
        "".join(f'{{"task":{at},"worker":"w","label":{number}}}\n' for at, number in enumerate(numbers.split(",")))
    )
    assert read_crowd(tmp_path / "a.jsonl").to_frame()["label"].tolist() == [
        float(n) if "." in numbers else int(n) for n in numbers.split(",")
    ]


def test_logging_is_quiet_about_clean_data(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    read = CrowdLabels.from_frame(answers("text", "text"))
    assert read.n_items == 3
    assert not caplog.text


# ---------------------------------------------------------------- values that are easy to lose on the way


EASY_TO_LOSE: dict[str, pd.Series] = {
    "small and large": pd.Series([1e-9, 2.5e-7, 1e22]),
    "float16": pd.Series(np.array([0.1, 0.5, 2.0], np.float16)),
    "negative zero": pd.Series([-0.0, 1.5, 2.5]),
    "above 64 bits": pd.Series([5, 2**70, 2**71], dtype=object),
    "timedelta64": pd.Series(pd.to_timedelta(["1h", "25h", "1ns"])),
    "timedelta": pd.Series([dt.timedelta(hours=hour) for hour in (1, 2, 30)], dtype=object),
    "date and time": pd.Series([dt.date(2024, 1, 1), pd.Timestamp("2024-01-02 01:00"), dt.date(2024, 1, 3)]),
    "with and without time zone": pd.Series(
        [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2, tzinfo=dt.UTC), dt.datetime(2024, 1, 3, 5)], dtype=object
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", EASY_TO_LOSE)
@pytest.mark.parametrize("ending", FORMATS)
def test_own_output_keeps_values_that_are_easy_to_lose(tmp_path: Path, kind: str, ending: str) -> None:
    values = EASY_TO_LOSE[kind]
    at = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    named = {"task": values.iloc[at], "worker": values.iloc[[0, 1, 2] * 3], "label": values.iloc[at]}
    frame = pd.DataFrame({name: column.reset_index(drop=True) for name, column in named.items()})
    crowd = CrowdLabels.from_frame(frame)
    result = MajorityVote().fit(crowd)
    write_tables({str(tmp_path / f"o{ending}"): consensus_frame(crowd, result), str(tmp_path / f"a{ending}"): frame})
    labels = read_labels(tmp_path / f"o{ending}")
    assert (true_classes(crowd, labels) == result.labels).all()
    again = read_crowd(tmp_path / f"a{ending}", gold=tmp_path / f"o{ending}")
    assert again.gold is not None
    assert (again.gold == MajorityVote().fit(again).labels).all()
    assert read_prior(tmp_path / f"o{ending}", again).argmax(axis=1).tolist() == again.gold.tolist()


@pytest.mark.parametrize("kind", [pa.decimal32(5, 2), pa.decimal64(12, 2)])
def test_short_decimals_of_parquet_are_numbers(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array([Decimal("1.50"), Decimal("2.00")], kind)
    pq.write_table(pa.table({"task": column, "worker": column, "label": column}), tmp_path / "a.parquet")
    assert read_crowd(tmp_path / "a.parquet").to_frame().to_numpy().tolist() == [[1.5] * 3, [2.0] * 3]


# ---------------------------------------------------------------- files that nearly fit each other


NEARLY = "task,worker,label\nt0,a,x\nt0,b,x\nt1,a,y\nt1,b,y\n"


@pytest.fixture
def nearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(NEARLY)
    Path("truth.csv").write_text("task,label\nt0 ,x\nt1,y\n")
    Path("history.csv").write_text("worker,truth,label,count\na ,x,x,5\nb,x,x,5\n")
    Path("pool.csv").write_text("task\nt0 \nt9\n")


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("aggregate a.csv --method mv --truth truth.csv", "'t0' and 't0 '"),
        ("aggregate a.csv --method em --gold truth.csv", "'t0' and 't0 '"),
        ("aggregate a.csv --method em --history history.csv", "'a' and 'a '"),
        ("plan a.csv --next n.csv --pool pool.csv", "'t0' and 't0 '"),
    ],
)
@pytest.mark.usefixtures("nearly")
def test_an_id_that_is_only_nearly_in_the_crowd_is_named(line: str, pair: str, caplog) -> None:
    assert main(line.split()) == 0
    assert f"not in the crowd: {pair} look alike; --strip" in caplog.text
    caplog.clear()
    assert main([*line.split(), "--strip"]) == 0
    assert "look alike" not in caplog.text


@pytest.mark.usefixtures("nearly")
def test_the_refusal_of_true_labels_names_look_alikes(capsys) -> None:
    Path("a.csv").write_text(NEARLY.replace("x\n", "x\t\n").replace("y\n", "y\t\n"))
    Path("truth.csv").write_text("task,label\nt0,x\nt1,y\n")
    assert main(["aggregate", "a.csv", "--method", "mv", "--truth", "truth.csv"]) == 2
    assert "'y\\t' and 'y' look alike; --strip" in capsys.readouterr().err
    assert main(["aggregate", "a.csv", "--method", "mv", "--truth", "truth.csv", "--strip"]) == 0
    assert "accuracy        1.0000" in capsys.readouterr().out


@pytest.mark.usefixtures("nearly")
def test_two_columns_that_differ_only_by_blanks_are_refused(capsys) -> None:
    Path("a.csv").write_text("task,worker,label, label\n1,a,x,y\n")
    assert main(["aggregate", "a.csv"]) == 2
    assert "column 'label' occurs 2 times" in capsys.readouterr().err
    Path("a.csv").write_text("task,worker,label\nt0,a,x\nt0,b,x \n")
    assert main(["aggregate", "a.csv", "--method", "mv", "--out", "o.csv"]) == 0
    assert main(["aggregate", "a.csv", "--prior", "o.csv"]) == 0
    assert main(["aggregate", "a.csv", "--prior", "o.csv", "--strip"]) == 2
    assert "column 'p_x' occurs 2 times" in capsys.readouterr().err


def test_a_class_with_a_line_end_finds_its_column_with_strip(tmp_path: Path) -> None:
    pd.DataFrame({"task": [1, 1], "worker": [1, 2], "label": "two\nlines"}).to_csv(tmp_path / "a.csv", index=False)
    crowd = read_crowd(tmp_path / "a.csv")
    write_tables({str(tmp_path / "o.csv"): consensus_frame(crowd, MajorityVote().fit(crowd))})
    stripped = read_crowd(tmp_path / "a.csv", strip=True)
    assert read_prior(tmp_path / "o.csv", stripped, strip=True).tolist() == [[1.0]]


def test_given_classes_are_stripped_too_and_never_empty(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(NEARLY)
    crowd = read_crowd(tmp_path / "a.csv", class_names=["y ", "x"], strip=True)
    assert crowd.class_names is not None
    assert crowd.class_names.tolist() == ["y", "x"]
    with pytest.raises(ValueError, match="a name of a class is empty"):
        read_crowd(tmp_path / "a.csv", class_names=["x", "y", " "])


def test_a_wide_file_has_each_worker_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("task,ann,ann \n1,x,y\n")
    with pytest.raises(FileError, match="column 'ann' occurs 2 times"):
        read_crowd(tmp_path / "a.csv", form=FileForm("wide"))
