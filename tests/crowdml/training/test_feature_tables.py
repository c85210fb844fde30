"""Tables of features follow the same rules as files of labels."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crowdml.files import FileError
from crowdml.training.feature_tables import read_table

FRAME = pd.DataFrame({"task": ["é1", "b2", "c3"], "x": [0.5, -1.25, 1e-30], "y": [1.0, 2.0, 3.0]})


@pytest.mark.parametrize(
    ("name", "delimiter", "encoding"),
    [("f.csv", ",", "utf-8"), ("f.csv", ";", "cp1252"), ("f.csv", "\t", "utf-16"), ("f.csv.gz", "|", "utf-8-sig")],
)
def test_delimiter_and_encoding_are_found(tmp_path: Path, name: str, delimiter: str, encoding: str) -> None:
    content = FRAME.to_csv(index=False, sep=delimiter).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    items = read_table(tmp_path / name, "task")
    assert items.ids.tolist() == FRAME["task"].tolist()
    assert items.columns == ("x", "y")
    assert items.values is not None
    np.testing.assert_array_equal(items.values, FRAME[["x", "y"]])


@pytest.mark.parametrize("name", ["f.jsonl", "f.json", "f.parquet"])
def test_other_formats_give_the_same_items(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "f.parquet":
        FRAME.to_parquet(path)
    else:
        FRAME.to_json(path, orient="records", lines=name == "f.jsonl")
    items = read_table(path, "task")
    assert items.ids.tolist() == FRAME["task"].tolist()
    assert items.values is not None
    np.testing.assert_allclose(items.values, FRAME[["x", "y"]], rtol=1e-12, atol=1e-15)


def test_blanks_around_names_and_values_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(" task , x\n1, 0.5\n2,+7\n")
    items = read_table(tmp_path / "f.csv", "task")
    assert items.columns == ("x",)
    assert items.values is not None
    assert items.values.ravel().tolist() == [0.5, 7.0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("task,x\n1,0.5\n2,low\n", "line 3: column 'x' must be a number, got 'low'"),
        ("task,x\n1,0.5\n2,\n", "line 3: column 'x' is empty"),
        ("task,x\n1,0.5\n2\n", "line 3: the row has 1 values, the header has 2"),
        ("task,x,x\n1,1,1\n", "column 'x' occurs 2 times"),
        ("task\n1\n", "there is no column besides 'task'"),
        ("task,x\n1,0.5\0\n", "the text holds a NUL byte"),
        ("task,x\n1," + "5" * (1 << 22) + "\n", "the line is longer than 4,194,304 bytes"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "f.csv").write_text(content)
    with pytest.raises(FileError, match=says):
        read_table(tmp_path / "f.csv", "task")


def test_an_empty_value_in_parquet_is_named_with_its_row(tmp_path: Path) -> None:
    FRAME.assign(y=[1.0, np.nan, 3.0]).to_parquet(tmp_path / "f.parquet")
    with pytest.raises(FileError, match="row 2: column 'y' is empty"):
        read_table(tmp_path / "f.parquet", "task")


def test_many_rows_are_read_in_blocks(tmp_path: Path) -> None:
    n_rows = 400_000  # more than one block of text
    values = np.random.default_rng(0).normal(size=n_rows)
    pd.DataFrame({"task": np.arange(n_rows), "x": values}).to_csv(tmp_path / "f.csv", index=False)
    items = read_table(tmp_path / "f.csv", "task")
    assert items.values is not None
    np.testing.assert_array_equal(items.values[:, 0], values)
