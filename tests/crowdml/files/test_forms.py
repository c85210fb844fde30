"""How a file stores its rows: delimiters, encodings, wide tables, exports of labelling tools, folders, odd files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crowdml.cli.main import main
from crowdml.files import FileError, FileForm, read_crowd, read_labels, renamed, write_tables
from crowdml.files import text_stream as text_stream_module
from crowdml.files.text_stream import TextStream, record_blocks
from crowdml.labels import CrowdLabels

HEADER = b"task,worker,label\n"


def text_file(folder: Path, data: bytes, name: str = "answers.csv") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def rows_of(crowd: CrowdLabels) -> list[tuple]:
    return sorted(tuple(row) for row in crowd.to_frame().to_numpy().tolist())


def refusal(path: Path, form: FileForm = FileForm()) -> str:  # noqa: B008
    with pytest.raises(FileError) as caught:
        read_crowd(path, form=form)
    message = str(caught.value)
    assert str(path) in message
    assert len(message.splitlines()) == 1
    return message


# ---------------------------------------------------------------- delimiters and encodings


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_delimiter_and_encoding_are_found(tmp_path: Path, mark: str, encoding: str) -> None:
    rows = [("tâche", "wörker", "label"), ("1", "süß", "café"), ("2", "Ærø", "“non”")]
    text = "".join(mark.join(row) + "\r\n" for row in rows)
    crowd = read_crowd(text_file(tmp_path, text.encode(encoding)), "tâche", "wörker")
    assert rows_of(crowd) == [(1, "süß", "café"), (2, "Ærø", "“non”")]


def test_a_delimiter_and_an_encoding_can_be_given(tmp_path: Path) -> None:
    path = text_file(tmp_path, "task:worker:label\n1:w:да\n".encode("cp1251"))
    assert rows_of(read_crowd(path, form=FileForm(delimiter=":", encoding="cp1251"))) == [(1, "w", "да")]


@pytest.mark.parametrize("encoding", ["cp1251", "gbk"])
def test_text_in_an_unknown_encoding_is_refused_with_its_line(tmp_path: Path, encoding: str) -> None:
    path = text_file(tmp_path, HEADER + b"1,v,x\n1,w," + {"cp1251": "нет", "gbk": "否"}[encoding].encode(encoding))
    assert "line 3: column 'label' is not UTF-8 text; give its encoding, such as cp1252" in refusal(path)


def test_one_damaged_letter_among_utf8_is_not_taken_for_another_encoding(tmp_path: Path) -> None:
    path = text_file(tmp_path, HEADER + "1,v,café\n".encode() + b"1,w,caf\xe9\n")
    assert "line 3: column 'label' is not UTF-8 text" in refusal(path)


def test_a_guessed_encoding_is_told(tmp_path: Path, caplog) -> None:
    read_crowd(text_file(tmp_path, HEADER + b"1,w,caf\xe9\n"))
    assert "answers.csv: not UTF-8 text; read as cp1252; if that is wrong, give its encoding" in caplog.text


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"delimiter": ";;"}, "the delimiter must be one ASCII character"),
        ({"delimiter": '"'}, "the delimiter must be one ASCII character"),
        ({"encoding": "klingon"}, "encoding 'klingon' is unknown"),
        ({"encoding": "hex"}, "encoding 'hex' is unknown"),
        ({"layout": "tall"}, "the layout must be one of long, wide, label-studio, doccano, got 'tall'"),
        ({"worker_columns": ("a",)}, "only a wide file has columns of workers"),
    ],
)
def test_a_form_that_is_none_is_refused(form: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        FileForm(**form)


def test_the_blanks_around_column_names_do_not_count(tmp_path: Path) -> None:
    assert rows_of(read_crowd(text_file(tmp_path, b"task , worker,label\t\n1,w,x\n"))) == [(1, "w", "x")]


# ---------------------------------------------------------------- files that are no plain text files


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    os.mkfifo(tmp_path / "pipe.parquet")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket.jsonl"))
        for name in ("pipe.csv", "pipe.parquet", "socket.jsonl"):
            assert "is a pipe, a socket or a device; only a regular file can be read" in refusal(tmp_path / name)
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    assert "is a pipe, a socket or a device" in refusal(tmp_path / "zero.csv")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", gzip.compress(HEADER), "the file is gzip data; add .gz to its name"),
        ("a.csv", b"PK\x03\x04rest", "the file is a zip archive or an Excel workbook"),
        ("a.csv", b"PAR1rest", "the file is Parquet data; let its name end in .parquet"),
        ("a.xlsx", b"PK\x03\x04rest", ".json, .json.gz, .parquet; save the sheet as CSV"),
        ("a.csv.gz", b"", "not gzip data, although the name ends in .gz"),
        ("a.parquet", b"", "cannot be read"),
        ("a.json", b"", "not JSON"),
        ("a.json", b"[]", "the file is empty"),
        ("a.json", b"[1]", "record 1: not a JSON object but 1"),
        ("a.jsonl", b'{"x":' + b"[" * 99_999 + b"]" * 99_999 + b"}", "line 1: the JSON is nested too deeply"),
        ("a.json", b"[" * 99_999 + b"]" * 99_999, "the JSON is nested too deeply"),
        ("a.json", b'[{"task":1,"worker":1,"label":' + b"1" * 5000 + b"}]", "not JSON (Exceeds the limit"),
        ("a.jsonl", b'{"task":"\\ud800","worker":1,"label":1}', "cannot be read"),
        ("a.csv", HEADER + b'1,v,x\n1,"w\n\n2,v,y\n', "line 3: a quoted value is not closed"),
        ("a.csv", HEADER + b"1,v,x\n1,w\0,x\n", "line 3: the text holds a NUL byte"),
        ("a.csv", HEADER.replace(b"worker", b"q" * 200_000), "column 'worker' is missing; the file has task, qqqqq"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    assert message in refusal(text_file(tmp_path, data, name))


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_of_all_systems_are_read(tmp_path: Path, line_end: str) -> None:
    data = line_end.join(["task,worker,label,note", '1,w,x,a"b', "", '2,v,"y, z","1\n2"', ""]).encode()
    assert rows_of(read_crowd(text_file(tmp_path, data))) == [(1, "w", "x"), (2, "v", "y, z")]


def test_a_long_header_is_read(tmp_path: Path) -> None:
    data = HEADER.rstrip() + b"," + b"q" * 200_000 + b"\n1,w,x,\n"
    assert rows_of(read_crowd(text_file(tmp_path, data))) == [(1, "w", "x")]


@pytest.mark.parametrize("name", ["bomb.csv.gz", "bomb.jsonl.gz", "bomb.json.gz"])
def test_a_packed_line_without_end_is_refused_early(tmp_path: Path, name: str) -> None:
    piece = gzip.compress(b"a" * (1 << 24))
    path = text_file(tmp_path, piece * 64, name)  # a gigabyte in one line
    message = refusal(path)
    assert (
        "at most 134,217,728 bytes" if ".json." in name else "line 1: the line is longer than 4,194,304 bytes"
    ) in message


def test_blocks_of_csv_end_where_records_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(text_stream_module, "BLOCK", 64)
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows = [["".join(rng.choice(list('ab,"\n'), rng.integers(0, 9))) for _ in range(3)] for _ in range(30)]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        path = text_file(tmp_path, text.getvalue().encode())
        with TextStream(path) as stream:
            blocks = list(map(bytes, record_blocks(stream, ",")))
        assert len(blocks) > 1
        assert b"".join(blocks).decode() == text.getvalue()
        parsed = [row for block in blocks for row in csv.reader(io.StringIO(block.decode(), newline=""))]
        assert parsed == rows


def test_quotes_in_turn_end_records_where_the_pattern_ends_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(text_stream_module, "BLOCK", 64)
    rng = np.random.default_rng(1)

    def blocks(path: Path) -> list[bytes] | str:
        try:
            with TextStream(path) as stream:
                return list(map(bytes, record_blocks(stream, ",")))
        except text_stream_module.TextFault as error:
            return str(error)

    for number in range(300):
        # Raw characters: quotes also stand inside values, and are not closed.
        shares = [0.4, 0.3, 0.02, 0.28] if number % 2 else [0.25, 0.25, 0.25, 0.25]
        path = text_file(tmp_path, "".join(rng.choice(list('a,"\n'), 400, p=shares)).encode())
        fast = blocks(path)
        with monkeypatch.context() as patch:
            patch.setattr(text_stream_module, "_open_and_close", lambda *_: False)
            assert blocks(path) == fast


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".json"])
def test_a_folder_of_text_files_is_one_table(tmp_path: Path, ending: str) -> None:
    frames = [pd.DataFrame({"task": [1, 2], "worker": name, "label": ["x", "y"]}) for name in "ab"]
    for name, frame in zip(["one", "two"], frames, strict=True):
        path = tmp_path / f"{name}{ending}"
        frame.to_csv(path, index=False) if ending == ".csv" else frame.to_json(
            path, orient="records", lines=ending == ".jsonl"
        )
    (tmp_path / f".hidden{ending}").write_text("no table")
    (tmp_path / "notes.txt").write_text("no table")
    assert rows_of(read_crowd(tmp_path)) == [(1, "a", "x"), (1, "b", "x"), (2, "a", "y"), (2, "b", "y")]


def test_errors_in_a_folder_name_the_file(tmp_path: Path) -> None:
    text_file(tmp_path, HEADER + b"1,w,x\n", "1.csv")
    text_file(tmp_path, b"task,worker\n1,w\n", "2.csv")
    assert "2.csv: column 'label' is missing; the file has task, worker" in refusal(tmp_path)
    text_file(tmp_path, HEADER + b"1,v,x\n2,v,\n", "2.csv")
    assert "2.csv, line 3: column 'label' is empty" in refusal(tmp_path)
    text_file(tmp_path, b"{}", "3.jsonl")
    assert "the folder holds .csv and .jsonl files; keep the files of one format" in refusal(tmp_path)


# ---------------------------------------------------------------- wide tables

WIDE = b"item,anna,bert,carl\n7,x,,y\n8,nan, ,\n9,y,y,x\n"
WIDE_ROWS = [(7, "anna", "x"), (7, "carl", "y"), (9, "anna", "y"), (9, "bert", "y"), (9, "carl", "x")]


def test_a_wide_table_has_a_column_per_worker(tmp_path: Path) -> None:
    path = text_file(tmp_path, WIDE)
    assert rows_of(read_crowd(path, "item", form=FileForm("wide"))) == WIDE_ROWS
    some = read_crowd(path, "item", form=FileForm("wide", worker_columns=("bert", "carl")))
    assert rows_of(some) == [row for row in WIDE_ROWS if row[1] != "anna"]
    path = text_file(tmp_path, WIDE.replace(b",", b";"))
    assert rows_of(read_crowd(path, "item", form=FileForm("wide"))) == WIDE_ROWS
    frame = pd.read_csv(io.BytesIO(WIDE), na_values=[" "])
    for name in ("wide.parquet", "wide.jsonl", "wide.json"):
        path = tmp_path / name
        frame.to_parquet(path) if name == "wide.parquet" else frame.to_json(
            path, orient="records", lines=name == "wide.jsonl"
        )
        assert rows_of(read_crowd(path, "item", form=FileForm("wide"))) == WIDE_ROWS


def test_labels_of_a_wide_table_may_be_whole_numbers_with_gaps(tmp_path: Path) -> None:
    pd.DataFrame({"task": [1, 2], "a": [0, 1], "b": [np.nan, 1.0], "c": [None, None]}).to_parquet(
        tmp_path / "w.parquet"
    )
    assert rows_of(read_crowd(tmp_path / "w.parquet", form=FileForm("wide"))) == [(1, "a", 0), (2, "a", 1), (2, "b", 1)]


def test_faults_in_a_wide_table_name_line_and_worker(tmp_path: Path) -> None:
    path = text_file(tmp_path, b"task,anna,bert\n1,x,\n\n,,y\n")
    assert "line 4, column 'bert': column 'task' is empty" in refusal(path, FileForm("wide"))
    assert "a wide file needs a column per worker" in refusal(text_file(tmp_path, b"task\n1\n"), FileForm("wide"))
    pd.DataFrame({"task": [1], "anna": ["x"], "bert": [1]}).to_parquet(tmp_path / "w.parquet")
    message = "column 'anna' holds string, but column 'bert' holds int64; the labels need one type"
    assert message in refusal(tmp_path / "w.parquet", FileForm("wide"))


def test_a_wide_table_that_is_read_as_long_is_recognised(tmp_path: Path) -> None:
    message = refusal(text_file(tmp_path, WIDE.replace(b"item", b"task")))
    assert "column 'worker' is missing; the file has task, anna, bert, carl; if each worker has a column" in message
    assert "--answers-format wide" in message


# ---------------------------------------------------------------- exports of labelling tools


def studio_task(number: int, *choices: tuple[Any, list[str]], **more: Any) -> dict[str, Any]:
    annotations = [{"completed_by": worker, "result": [studio_result(given)], **more} for worker, given in choices]
    return {"id": number, "data": {"text": "a", "sku": f"s{number}"}, "annotations": annotations}


def studio_result(choices: list[str], question: str = "mood", kind: str = "choices") -> dict[str, Any]:
    return {"from_name": question, "to_name": "text", "type": kind, "value": {kind: choices}}


def json_file(folder: Path, content: Any, name: str = "export.json") -> Path:
    return text_file(folder, json.dumps(content).encode(), name)


STUDIO, DOCCANO = FileForm("label-studio"), FileForm("doccano")


def test_a_label_studio_export_is_read(tmp_path: Path) -> None:
    tasks = [studio_task(1, (3, ["sad"]), (4, ["glad"])), studio_task(2, (3, ["glad"]))]
    tasks[1]["annotations"].append({"completed_by": 4, "was_cancelled": True, "result": []})
    path = json_file(tmp_path, tasks)
    assert rows_of(read_crowd(path, form=STUDIO)) == [(1, 3, "sad"), (1, 4, "glad"), (2, 3, "glad")]
    assert rows_of(read_crowd(path, "sku", form=STUDIO))[0] == ("s1", 3, "sad")
    by_mail = [studio_task(1, ({"id": 3, "email": "a@example.org"}, ["sad"]))]
    assert rows_of(read_crowd(json_file(tmp_path, by_mail), form=STUDIO)) == [(1, "a@example.org", "sad")]


def test_one_of_several_questions_of_label_studio_is_chosen_by_its_name(tmp_path: Path) -> None:
    task = studio_task(1, (3, ["sad"]))
    task["annotations"][0]["result"].append(studio_result(["note"], "why", "textarea"))
    path = json_file(tmp_path, [task])
    assert rows_of(read_crowd(path, label="mood", form=STUDIO)) == [(1, 3, "sad")]
    assert "no question is named 'label'; give the column of labels one of mood (choices), why (textarea)" in refusal(
        path, STUDIO
    )


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            [studio_result(["sad", "glad"])],
            "record 1: multi-label: 2 labels (sad, glad); only single labels can be read",
        ),
        (
            [studio_result([], "box", "rectanglelabels")],
            "record 1: a task of type 'rectanglelabels'; only a single choice",
        ),
        ([studio_result(["a"]), studio_result(["b"])], "record 1: one annotation answers the question 2 times"),
        ([], "record 1: column 'label' is empty"),
        (7, "record 1: an annotation has no list of objects 'result'"),
    ],
)
def test_what_is_no_single_choice_in_label_studio_is_refused(tmp_path: Path, result: Any, message: str) -> None:
    task = studio_task(1, (3, ["sad"]))
    task["annotations"][0]["result"] = result
    assert message in refusal(json_file(tmp_path, [task]), STUDIO)


def test_a_folder_of_doccano_files_has_one_file_per_user(tmp_path: Path) -> None:
    for user, labels in {"anna": ["x", "y"], "bert": ["x", "x"]}.items():
        lines = "".join(
            json.dumps({"id": item, "text": "a", "label": [label]}) + "\n" for item, label in enumerate(labels)
        )
        text_file(tmp_path, lines.encode(), f"{user}.jsonl")
    assert rows_of(read_crowd(tmp_path, form=DOCCANO)) == [
        (0, "anna", "x"),
        (0, "bert", "x"),
        (1, "anna", "y"),
        (1, "bert", "x"),
    ]
    assert "read it with --answers-format doccano" in refusal(tmp_path)


def test_doccano_annotations_can_name_their_users(tmp_path: Path) -> None:
    record = {"id": 5, "text": "a", "annotations": [{"label": 1, "user": 8}, {"label": 2, "user": 9}]}
    assert rows_of(read_crowd(json_file(tmp_path, [record]), form=DOCCANO)) == [(5, 8, 1), (5, 9, 2)]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": 1, "label": ["x", "y"]}, "record 1: multi-label: 2 labels (x, y)"),
        ({"id": 1, "label": [[0, 4, "PER"]]}, "record 1: a sequence labelling (spans)"),
        ({"id": 1, "entities": [{"id": 1}], "label": []}, "record 1: a sequence labelling (entities)"),
        (
            {"id": 1, "annotations": [{"label": 1, "user": 1, "start_offset": 0}]},
            "record 1: a sequence labelling (spans)",
        ),
        ({"label": ["x"]}, "record 1: the item has no 'task' and no 'id'"),
        ({"id": 1}, "record 1: the item has no 'label' or 'labels' or 'category'"),
        ({"id": 1, "label": []}, "record 1: column 'label' is empty"),
    ],
)
def test_what_is_no_single_label_in_doccano_is_refused(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    assert message in refusal(json_file(tmp_path, [record]), DOCCANO)


def test_a_label_studio_export_that_is_read_as_long_is_recognised(tmp_path: Path) -> None:
    path = json_file(tmp_path, [studio_task(1, (3, ["sad"]))])
    assert "read it with --answers-format label-studio" in refusal(path)
    assert "a label-studio export is a .json or .jsonl file" in refusal(text_file(tmp_path, HEADER), STUDIO)


# ---------------------------------------------------------------- writing


def test_a_column_of_the_user_wins_over_a_column_of_ours(tmp_path: Path) -> None:
    frame = pd.DataFrame({"task": [1], "label": ["x"], "doubt": [0.5], "doubt_": [1.0]})
    assert renamed(frame, {"label": "doubt"}).columns.tolist() == ["task", "doubt", "doubt_", "doubt__"]
    answers = text_file(tmp_path, b"p_wrong,doubt,p_x\n1,v,x\n1,w,x\n2,v,y\n2,w,x\n")
    columns = ["--task-column", "p_wrong", "--worker-column", "doubt", "--label-column", "p_x"]
    tables = ["--out", "o.csv", "--doubtful-labels", "d.csv", "--workers", "w.csv", "--confusion", "c.csv"]
    at_home = [str(tmp_path / word) if word.endswith(".csv") else word for word in tables]
    assert main(["aggregate", str(answers), "--method", "mv", *columns, *at_home]) == 0
    assert (tmp_path / "o.csv").read_text().splitlines()[0] == "p_wrong,p_x,p_x_,p_y,doubt"
    assert (tmp_path / "d.csv").read_text().splitlines()[0] == "p_wrong,doubt,p_x,consensus,p_wrong_"
    assert read_labels(tmp_path / "o.csv", "p_wrong", "p_x").to_dict() == {1: "x", 2: "x"}


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"t\.csv: the table has two columns named 'a'"):
        write_tables({str(tmp_path / "t.csv"): pd.DataFrame([[1, 2]], columns=pd.Index(["a", "a"]))})


FORMULAS = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "plain", "a=b"]


def test_formulas_are_written_as_text_on_request(tmp_path: Path) -> None:
    frame = pd.DataFrame({"=task": FORMULAS, "label": pd.Categorical(FORMULAS), "n": -1})
    write_tables({str(tmp_path / "safe.csv"): frame}, formula_safe=True)
    safe = pd.read_csv(tmp_path / "safe.csv", lineterminator="\n")
    written = [text if text in ("plain", "a=b") else f"'{text}" for text in FORMULAS]
    assert safe.columns.tolist() == ["'=task", "label", "n"]
    assert safe["'=task"].tolist() == safe["label"].tolist() == written
    assert safe["n"].tolist() == [-1] * len(FORMULAS)
    write_tables({str(tmp_path / "as_is.csv"): frame})
    assert pd.read_csv(tmp_path / "as_is.csv", lineterminator="\n")["=task"].tolist() == FORMULAS


@pytest.mark.parametrize("text", ["a,b", 'a"b', "a\nb", "a\rb"])
def test_categories_and_column_names_are_quoted_where_they_need_it(tmp_path: Path, text: str) -> None:
    frame = pd.DataFrame({text: pd.Categorical([text]), "n": [1]})
    write_tables({str(tmp_path / "t.csv"): frame})
    with open(tmp_path / "t.csv", newline="") as lines:
        assert list(csv.reader(lines)) == [[text, "n"], [text, "1"]]


def test_an_output_that_is_no_regular_file_or_named_twice_is_refused(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.csv")
    answers = text_file(tmp_path, HEADER + b"1,v,x\n")
    assert main(["aggregate", str(answers), "--out", "pipe.csv"]) == 2
    assert "pipe.csv: is a pipe, a socket or a device" in capsys.readouterr().err
    assert main(["aggregate", str(answers), "--out", "x.csv", "--workers", "./x.csv"]) == 2
    assert "each output needs its own file" in capsys.readouterr().err
    assert main(["aggregate", str(answers), "--out", "x.json"]) == 2
    assert "x.json: the ending must be one of .csv, .csv.gz, .jsonl, .jsonl.gz, .parquet" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["answers.csv", "pipe.csv"]


def test_the_command_takes_the_form_of_the_answers(tmp_path: Path) -> None:
    path = text_file(tmp_path, b"item\tanna\tbert\tnote\n1\tx\ty\tcaf\xe9\n2\ty\ty\t\n")
    words = ["--task-column", "item", "--answers-format", "wide", "--worker-columns", "anna", "bert"]
    words += ["--delimiter", "tab", "--encoding", "cp1252", "--method", "mv", "--out", str(tmp_path / "o.parquet")]
    assert main(["aggregate", str(path), *words]) == 0
    assert pd.read_parquet(tmp_path / "o.parquet")["label"].tolist() == ["x", "y"]


def test_the_figure_of_a_plan_is_checked_before_the_work(tmp_path: Path, capsys) -> None:
    answers = text_file(tmp_path, HEADER + b"1,v,x\n")
    assert main(["plan", str(answers), "--figure", str(tmp_path / "figure.doc")]) == 2
    assert "figure.doc: the ending must be one of .png, .svg, .pdf" in capsys.readouterr().err
