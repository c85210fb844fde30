from __future__ import annotations

import gzip
import os
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.files import Columns, FileError, read_columns, read_crowd, read_labels, write_tables
from crowdml.files import writing as writing_module
from crowdml.labels import CrowdLabels
from tests.crowds import crowds

HEADER = b"task,worker,label\n"
FRAME = pd.DataFrame({"task": ["007", "8", "8"], "worker": ["b", "b", "a"], "label": ["no", "yes", "no"]})


def rows_of(crowd: CrowdLabels) -> list[tuple]:
    return [tuple(row) for row in crowd.to_frame().to_numpy().tolist()]


def text_file(folder: Path, data: bytes, name: str = "answers.csv") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet"])
def test_every_format_comes_back_as_it_was_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"answers{ending}"
    write_tables({str(path): FRAME})
    crowd = read_crowd(path)
    assert crowd.item_ids is not None
    assert crowd.item_ids.tolist() == ["007", "8"]
    assert rows_of(crowd) == [tuple(row) for row in FRAME.to_numpy().tolist()]
    assert os.listdir(tmp_path) == [path.name]


def test_a_csv_column_of_plain_whole_numbers_is_numbers_in_their_order(tmp_path: Path) -> None:
    crowd = read_crowd(text_file(tmp_path, HEADER + b"10,-3,9\n9,0,10\n"))
    assert crowd.item_ids is not None
    assert crowd.class_names is not None
    assert crowd.item_ids.tolist() == [9, 10]
    assert crowd.class_names.tolist() == [9, 10]
    assert rows_of(crowd) == [(10, -3, 9), (9, 0, 10)]


@pytest.mark.parametrize("id", ["007", "+7", "-0", "7.10", "1e3", " 7", "7_0", "9999999999999999999999", "٣"])
def test_what_a_number_would_change_stays_text(tmp_path: Path, id: str) -> None:
    crowd = read_crowd(text_file(tmp_path, HEADER + f"{id},w,x\n8,w,x\n".encode()))
    assert rows_of(crowd) == [(id, "w", "x"), ("8", "w", "x")]


def test_columns_by_name_in_any_order_with_quotes_lines_and_byte_order_mark(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbfsays,note,who,q\r\nyes,"a ""b""\r\nc",w1,"q,1"\r\n\r\nno,,w2,q2\r\n'
    crowd = read_crowd(text_file(tmp_path, data), "q", "who", "says")
    assert rows_of(crowd) == [("q,1", "w1", "yes"), ("q2", "w2", "no")]


def test_a_folder_of_parquet_parts_is_one_crowd(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    (folder / "deeper").mkdir(parents=True)
    FRAME[:2].astype({"label": "category"}).to_parquet(folder / "deeper" / "part-1.parquet")
    FRAME[2:].to_parquet(folder / "part-2.parquet")
    (folder / "README").write_text("not a part")
    assert rows_of(read_crowd(folder)) == [tuple(row) for row in FRAME.to_numpy().tolist()]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    frame = pd.DataFrame({"task": ["7", "8"], "worker": np.array([3, 1], np.int16), "label": [2.5, 1.0]})
    frame.to_parquet(path)
    assert rows_of(read_crowd(path)) == [("7", 3, 2.5), ("8", 1, 1.0)]


def test_given_classes_keep_their_order_and_may_be_of_another_type(tmp_path: Path) -> None:
    path = text_file(tmp_path, HEADER + b"a,w,1\nb,w,2\n")
    crowd = read_crowd(path, class_names=["2", "1", "3"])
    assert crowd.n_classes == 3
    assert crowd.label.tolist() == [1, 0]
    with pytest.raises(ValueError, match="the classes must differ, got 1, 1"):
        read_crowd(path, class_names=[1, 1])


def test_repeats_are_kept_or_dropped_as_asked(tmp_path: Path) -> None:
    path = text_file(tmp_path, HEADER + b"a,w,1\nb,w,2\na,w,2\n")
    assert read_crowd(path, repeats="first").label.tolist() == [0, 1]
    assert read_crowd(path, repeats="keep").n_annotations == 3


BAD_CSV = [
    (b"", "answers.csv: the file is empty"),
    (HEADER, "answers.csv: no rows"),
    (b"task,worker,lab\n1,2,3\n", "answers.csv: column 'label' is missing; the file has task, worker, lab"),
    (b"task,worker,label,label\n1,2,3,4\n", "answers.csv: column 'label' occurs 2 times"),
    (b"t\xffsk,worker,label\n1,2,3\n", "answers.csv, line 1: the header is not UTF-8 text"),
    (HEADER + b"1,2,3\n1,3\n", "answers.csv, line 3: the row has 2 values, the header has 3"),
    (HEADER + b'1,"a\nb",3\n\n1,2,3,4\n', "answers.csv, line 5: the row has 4 values, the header has 3"),
    (HEADER + b"1,2,3\n1,3,\xff\n", "answers.csv, line 3: column 'label' is not UTF-8 text"),
    (HEADER + b'1,2,3\n1,"3,4\n1,4,3\n', "answers.csv, line 3: a quoted value is not closed"),
    (HEADER + b"1,2,3\n\n1,,3\n", "answers.csv, line 4: column 'worker' is empty"),
    (HEADER + b"1,2,NaN\n", "answers.csv, line 2: column 'label' is empty ('NaN')"),
    (HEADER + b"1,2,3\n ,2,3\n", "answers.csv, line 3: column 'task' is empty (' ')"),
    (HEADER + b"1,2,3\n2,2,3\n1,2,4\n", "answers.csv, line 4: worker 2 labels task 1 for the second time (1 repeated"),
]


@pytest.mark.parametrize(("data", "message"), BAD_CSV)
def test_malformed_csv_is_refused_with_file_column_and_line(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(FileError, match=re.escape(message)) as caught:
        read_crowd(text_file(tmp_path, data))
    assert "\n" not in str(caught.value)


GOOD_JSON = b'{"task":7,"worker":"a","label":1}\n\n'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"[1]\n", "answers.jsonl, line 1: not a JSON object but [1]"),
        (b'{"task":[7],"worker":"a","label":1}\n', "column 'task' holds [7]; ids and labels must be text or numbers"),
        (b'{"task":7,"worker":"a"}\n', "column 'label' is missing; the file has task, worker"),
        (GOOD_JSON + b'{"task":8,"worker":"a","label":null}', "line 3: column 'label' is empty"),
        (GOOD_JSON + b'{"task":8,"worker":"a"}', "line 3: column 'label' is empty"),
        (GOOD_JSON + b'{"task":"8","worker":"a","label":1}', "line 3: column 'task' is '8' (str), before it was int"),
        (GOOD_JSON + b'{"task":8,"worker":"a","label":1', "line 3: not JSON (Expecting ',' delimiter at character 33)"),
        (GOOD_JSON + b'{"task":8,"worker":"\xff","label":1}', "line 3: not UTF-8 text"),
    ],
)
def test_malformed_json_is_refused_with_file_column_and_line(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(FileError, match=re.escape(message)):
        read_crowd(text_file(tmp_path, data, "answers.jsonl"))


def test_json_may_hold_more_than_annotations(tmp_path: Path) -> None:
    data = b'{"task":"a","meta":{"x":[1]},"worker":1,"label":true}\n{"worker":2,"task":"a","label":false,"meta":7}\n'
    assert rows_of(read_crowd(text_file(tmp_path, data, "answers.jsonl"))) == [("a", 1, True), ("a", 2, False)]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.assign(worker=pd.Series(["b", None, "a"])), "row 2: column 'worker' is empty"),
        (FRAME.assign(label=[1.0, 2.0, np.nan]), "row 3: column 'label' is empty"),
        (FRAME.assign(task=pd.Series([[1], [2], [3]])), "column 'task' holds list"),
        (FRAME[:0], "no rows"),
        (FRAME.assign(task="a", worker="b"), "row 2: worker b labels task a for the second time (2 repeated"),
    ],
)
def test_malformed_parquet_is_refused_with_file_column_and_row(tmp_path: Path, frame: pd.DataFrame, message: str):
    frame.to_parquet(tmp_path / "answers.parquet")
    with pytest.raises(FileError, match=re.escape(message)):
        read_crowd(tmp_path / "answers.parquet")


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "part-1.parquet")
    FRAME.assign(label=1).to_parquet(tmp_path / "part-2.parquet")
    with pytest.raises(FileError, match=r"part-2.parquet: column 'label' holds int64, but string in .*part-1.parquet"):
        read_crowd(tmp_path)


def test_a_path_without_a_readable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nothing\.csv: no such file"):
        read_crowd(tmp_path / "nothing.csv")
    with pytest.raises(FileError, match=r"the folder holds no \.csv, .*\.parquet files"):
        read_crowd(tmp_path)
    with pytest.raises(FileError, match=r"answers\.xls: the ending must be one of \.csv, \.csv\.gz, "):
        read_crowd(text_file(tmp_path, b"", "answers.xls"))
    with pytest.raises(FileError, match=r"answers\.parquet: cannot be read: "):
        read_crowd(text_file(tmp_path, b"PAR1", "answers.parquet"))
    with pytest.raises(FileError, match=r"answers\.csv\.gz: not gzip data"):
        read_crowd(text_file(tmp_path, HEADER, "answers.csv.gz"))


def test_a_packed_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(HEADER + b"".join(b"%d,%d,1\n" % (i, i * i) for i in range(20_000)))
    with pytest.raises(FileError, match=r"answers\.csv\.gz, line \d+: the compressed data is damaged or ends early"):
        read_crowd(text_file(tmp_path, packed[:-1000], "answers.csv.gz"))


def test_a_bad_row_at_the_end_of_a_large_file_is_found(tmp_path: Path) -> None:
    n_rows = 300_000
    body = b"".join(b"%d,%d,%d\n" % (row // 3, row % 3, row % 2) for row in range(n_rows))
    with pytest.raises(FileError, match=f"line {n_rows + 2}: the row has 2 values, the header has 3"):
        read_crowd(text_file(tmp_path, HEADER + body + b"1,2"))


def test_reading_reports_its_progress(tmp_path: Path) -> None:
    path = text_file(tmp_path, HEADER + b"1,2,3\n" * 10)
    seen: list[tuple[int, int]] = []
    read_crowd(path, repeats="keep", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)


def test_columns_must_differ() -> None:
    with pytest.raises(ValueError, match="must differ, got task, task, label"):
        Columns(worker="task")


def test_labels_of_items_come_as_a_series(tmp_path: Path) -> None:
    labels = read_labels(text_file(tmp_path, b"q,truth\nb,1\na,0\n"), "q", "truth")
    assert labels.to_dict() == {"b": 1, "a": 0}
    with pytest.raises(FileError, match="line 4: task a occurs for the second time"):
        read_labels(text_file(tmp_path, b"task,label\na,1\nb,1\na,0\n"))


def test_a_column_of_numbers_becomes_floats_or_is_refused(tmp_path: Path) -> None:
    frame = read_columns(text_file(tmp_path, b"who,n\n007,1.5\n8,2\n"), ("who", "n"), numbers=("n",))
    assert frame.to_dict("list") == {"who": ["007", "8"], "n": [1.5, 2.0]}
    with pytest.raises(FileError, match="line 3: column 'n' must be a number, got 'many'"):
        read_columns(text_file(tmp_path, b"who,n\n7,1.5\n8,many\n"), ("who", "n"), numbers=("n",))


def test_gold_and_history_come_from_files(tmp_path: Path) -> None:
    path = text_file(tmp_path, HEADER + b"1,a,x\n2,a,y\n2,b,y\n")
    gold = text_file(tmp_path, b"task,label\n2,x\n99,y\n", "gold.csv")
    history = text_file(tmp_path, b"worker,truth,label,count\nb,x,y,2.5\nb,x,y,1\nz,x,x,7\n", "history.csv")
    crowd = read_crowd(path, gold=gold, history=history)
    assert crowd.gold is not None
    assert crowd.history is not None
    assert crowd.gold.tolist() == [-1, 0]
    assert crowd.history.tolist() == [[[0, 0], [0, 0]], [[0, 3.5], [0, 0]]]


ids = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=4).filter(
    lambda text: text.strip() not in ("", "nan", "NaN")
)


@given(st.lists(st.tuples(ids, ids, ids), min_size=1, max_size=8), st.sampled_from([".csv", ".jsonl", ".parquet"]))
def test_any_text_survives_any_format(tmp_path_factory, rows: list[tuple[str, str, str]], ending: str) -> None:
    path = tmp_path_factory.mktemp("any") / f"answers{ending}"
    write_tables({str(path): pd.DataFrame(rows, columns=["task", "worker", "label"], dtype=object)})
    read = read_crowd(path, repeats="keep")
    assert [tuple(map(str, row)) for row in rows_of(read)] == rows


@given(crowds())
def test_a_file_gives_the_crowd_that_its_frame_gives(tmp_path_factory, crowd: CrowdLabels) -> None:
    path = tmp_path_factory.mktemp("same") / "answers.csv"
    write_tables({str(path): crowd.to_frame()})
    ours, theirs = read_crowd(path), CrowdLabels.from_frame(crowd.to_frame())
    assert (ours.to_dense() == theirs.to_dense()).all()
    for name in ("item_ids", "worker_ids", "class_names"):
        assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()


# ---------------------------------------------------------------- writing


def test_csv_is_plain_and_numbers_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    third = 1 / 3
    write_tables({str(path): pd.DataFrame({"a, b": ["x", "y"], "n": [1, 2], "p": [third, np.nan]})})
    assert path.read_text() == f'"a, b",n,p\nx,1,{third}\ny,2,\n'


def test_an_interrupted_write_leaves_the_old_files_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    old, new = tmp_path / "labels.csv", tmp_path / "workers.parquet"
    old.write_text("old")

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing_module.pq, "write_table", stop)
    with pytest.raises(KeyboardInterrupt):
        write_tables({str(old): FRAME, str(new): FRAME})
    assert old.read_text() == "old"
    assert os.listdir(tmp_path) == ["labels.csv"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("labels.txt", "the ending must be one of"),
        ("absent/labels.csv", "the folder .*absent does not exist"),
        ("folder.csv", "is a folder"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileError, match=message):
        write_tables({str(tmp_path / "good.csv"): FRAME, str(tmp_path / name): FRAME})
    assert os.listdir(tmp_path) == ["folder.csv"]


def test_a_full_disk_gives_one_line(tmp_path: Path, monkeypatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing_module.pq, "write_table", full)
    with pytest.raises(FileError, match=r"labels\.parquet: cannot be written: No space left on device"):
        write_tables({str(tmp_path / "labels.parquet"): FRAME})
    assert os.listdir(tmp_path) == []


def test_a_million_rows_are_read_in_a_second_or_two(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n_rows = 1_000_000
    path = tmp_path / "answers.parquet"
    columns = {"task": np.arange(n_rows) // 10, "worker": rng.integers(0, 500, n_rows), "label": np.ones(n_rows)}
    pd.DataFrame(columns).to_parquet(path)
    started = time.perf_counter()
    assert read_crowd(path, repeats="keep").n_annotations == n_rows
    assert time.perf_counter() - started < 5  # about 0.2 s; the rest is for a busy machine
