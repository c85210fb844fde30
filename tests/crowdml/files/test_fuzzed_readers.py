"""Damaged files of every kind: a crowd, or one line that names the file; never a traceback, a hang or half a file."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crowdml.cli.main import main
from crowdml.files import FileError, FileForm, read_crowd

N_INPUTS = 500  # per reader
N_COMMANDS = 25  # of these inputs go through the command, in this process
SECONDS = 10.0  # for one input; far more than the slowest needs on a busy machine

LONG = FileForm()
SEMICOLONS = FileForm(delimiter=";")
WIDE, STUDIO, DOCCANO = FileForm("wide"), FileForm("label-studio"), FileForm("doccano")

PACKINGS = ("snappy", "gzip", "none", "zstd")
ODD_TEXT = [
    "", " ", "\t", "nan", "NaN", "NULL", "-0", "007", "1e999", "1" * 5000, "9" * 19, "-9223372036854775809", "TRUE",
    "2024-01-01T00:00:00Z", "é", "é", "日本", "\u202e", "\ufeff", '"', '""', "a,b", "a;b", "a\nb", "a\rb",
    "x" * 140_000, "=1+1", "\\", "{", "[", "task", "label", "p_x",
]  # fmt: skip
ODD_BYTES = [
    b"\0", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1f\x8b\x08\x00", b"PAR1", b"PK\x03\x04", b"\r",
    b"\n", b"\r\n\r\n", b'"', b"'", b",", b";", b"\xc3", b"\xed\xa0\x80", b"{", b"}", b"[" * 3000, b'{"a":' * 3000,
    b"null", b"\x80\x81", b"-", b"1" * 400, b"\\ud800", b"x" * 140_000,
]  # fmt: skip
ODD_VALUES = [
    None, True, False, 0, -1, 2**63, 2**64, 10**400, 1.5, float("nan"), float("inf"), "", "x", [], ["x"], ["x", "y"],
    {}, {"choices": ["x"]}, [[0, 1, "x"]], "\ud800", [None], {"id": 1}, [[[[]]]],
]  # fmt: skip


def rows_of(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the rows of a small crowd, now and then with odd ids and labels."""
    odd = rng.random() < 0.5
    rows = [
        {"task": task, "worker": f"w{worker}", "label": "xyz"[rng.integers(3)]}
        for task in range(4)
        for worker in range(3)
    ]
    for row in rows:
        for name in row:
            if odd and rng.random() < 0.05:
                row[name] = ODD_TEXT[rng.integers(len(ODD_TEXT))]
    return rows


def csv_text(rng: np.random.Generator) -> bytes:
    return pd.DataFrame(rows_of(rng)).to_csv(index=False, lineterminator=str(rng.choice(["\n", "\r\n", "\r"]))).encode()


def semicolon_text(rng: np.random.Generator) -> bytes:
    encoding = str(rng.choice(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]))
    return pd.DataFrame(rows_of(rng)).to_csv(index=False, sep=";").encode(encoding, "replace")


def json_lines(rng: np.random.Generator) -> bytes:
    rows = [with_odd_value(rng, row, 0.005) for row in rows_of(rng)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode("utf-8", "surrogatepass")


def json_document(rng: np.random.Generator) -> bytes:
    return json.dumps([with_odd_value(rng, row, 0.005) for row in rows_of(rng)]).encode("utf-8", "surrogatepass")


def parquet(rng: np.random.Generator) -> bytes:
    frame = pd.DataFrame(rows_of(rng), dtype=object).astype(str)
    change = rng.integers(8)
    if change == 0:
        frame["label"] = pd.Categorical(frame["label"])
    elif change == 1:
        frame["task"] = rng.integers(0, 2**64, len(frame), dtype=np.uint64)
    elif change == 2:
        frame["label"] = pd.Timestamp("2024-01-01", tz="UTC")
    elif change == 3:
        frame["worker"] = [b"a"] * len(frame)
    elif change == 4:
        frame["label"] = rng.random(len(frame)) < 0.5
    elif change == 5:
        frame["label"] = rng.choice([0.0, 1.0, np.nan, np.inf], len(frame))
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame), out, compression=PACKINGS[rng.integers(len(PACKINGS))])
    return out.getvalue()


def wide_text(rng: np.random.Generator) -> bytes:
    cells = rng.choice(["x", "y", "", "nan", " "], (5, 3))
    return pd.DataFrame(cells, columns=["anna", "bert", "carl"]).rename_axis("task").to_csv().encode()


def wide_parquet(rng: np.random.Generator) -> bytes:
    columns: dict[str, Any] = {
        "task": np.arange(5),
        "anna": rng.choice([0.0, 1.0, np.nan], 5),
        "bert": rng.integers(0, 2, 5),
    }
    columns["carl"] = [None] * 5 if rng.random() < 0.5 else [str(rng.choice(["x", "1"]))] * 5
    out = io.BytesIO()
    pd.DataFrame(columns).to_parquet(out)
    return out.getvalue()


def wide_json(rng: np.random.Generator) -> bytes:
    rows = [{"task": task, "anna": "x", "bert": None, "carl": str(rng.choice(["x", "y"]))} for task in range(4)]
    return "".join(json.dumps(with_odd_value(rng, row, 0.01)) + "\n" for row in rows).encode("utf-8", "surrogatepass")


def label_studio(rng: np.random.Generator) -> bytes:
    by_mail = rng.random() < 0.5
    tasks = [
        {
            "id": task,
            "data": {"text": "a text"},
            "annotations": [
                {
                    "completed_by": {"id": worker, "email": f"w{worker}@example.org"} if by_mail else worker,
                    "was_cancelled": bool(rng.random() < 0.1),
                    "result": [
                        {
                            "from_name": "mood",
                            "to_name": "text",
                            "type": "choices",
                            "value": {"choices": ["xyz"[rng.integers(3)]]},
                        }
                    ],
                }
                for worker in (1, 2)
            ],
        }
        for task in range(3)
    ]
    return json.dumps(with_odd_value(rng, tasks, 0.002)).encode("utf-8", "surrogatepass")


def doccano(rng: np.random.Generator) -> bytes:
    lines = [{"id": item, "text": "a text", "label": ["xyz"[rng.integers(3)]]} for item in range(5)]
    if rng.random() < 0.5:
        lines = [{"id": 9, "text": "a text", "annotations": [{"label": "x", "user": 1}, {"label": "y", "user": 2}]}]
    return "".join(json.dumps(with_odd_value(rng, line, 0.01)) + "\n" for line in lines).encode(
        "utf-8", "surrogatepass"
    )


def with_odd_value(rng: np.random.Generator, value: Any, share: float) -> Any:
    """Return a JSON value in which some parts are replaced or left out."""
    if rng.random() < share:
        return ODD_VALUES[rng.integers(len(ODD_VALUES))]
    if isinstance(value, dict):
        kept = {name: part for name, part in value.items() if rng.random() >= share / 2}
        return {name: with_odd_value(rng, part, share) for name, part in kept.items()}
    if isinstance(value, list):
        return [with_odd_value(rng, part, share) for part in value]
    return value


def damaged(rng: np.random.Generator, data: bytes) -> bytes:
    """Return the bytes with some damage."""
    for _ in range(rng.choice([0, 1, 1, 1, 2, 5])):
        at, end = sorted(rng.integers(0, len(data) + 1, 2).tolist())
        kind = rng.integers(6)
        if kind == 0:
            data = data[:at]
        elif kind == 1:
            data = data[:at] + data[at + int(rng.integers(1, 9)) :]
        elif kind == 2:
            data = data[:at] + ODD_BYTES[rng.integers(len(ODD_BYTES))] + data[at:]
        elif kind == 3:
            data = data[:at] + rng.bytes(int(rng.integers(1, 9))) + data[at + 4 :]
        elif kind == 4:
            data = data[:end] + data[at:end] + data[end:]
        elif data:
            place = min(at, len(data) - 1)
            data = data[:place] + bytes([data[place] ^ (1 << int(rng.integers(8)))]) + data[place + 1 :]
    return data


READERS: dict[str, tuple[str, FileForm, Callable[[np.random.Generator], bytes]]] = {
    "csv": ("answers.csv", LONG, csv_text),
    "csv of other delimiters and encodings": ("answers.csv", LONG, semicolon_text),
    "json lines": ("answers.jsonl", LONG, json_lines),
    "json": ("answers.json", LONG, json_document),
    "parquet": ("answers.parquet", LONG, parquet),
    "packed csv": ("answers.csv.gz", LONG, csv_text),
    "packed json lines": ("answers.jsonl.gz", LONG, json_lines),
    "packed json": ("answers.json.gz", LONG, json_document),
    "wide csv": ("answers.csv", WIDE, wide_text),
    "wide parquet": ("answers.parquet", WIDE, wide_parquet),
    "wide json": ("answers.jsonl", WIDE, wide_json),
    "label studio": ("export.json", STUDIO, label_studio),
    "doccano": ("anna.jsonl", DOCCANO, doccano),
}


def fuzzed(reader: str, seed: int) -> tuple[str, FileForm, bytes]:
    """Return a file name, its form, and damaged content; packed files are damaged before or after the packing."""
    name, form, make = READERS[reader]
    rng = np.random.default_rng([seed, *reader.encode()])
    data = make(rng)
    if not name.endswith(".gz"):
        return name, form, damaged(rng, data)
    if rng.random() < 0.5:
        return name, form, gzip.compress(damaged(rng, data), 1)
    return name, form, damaged(rng, gzip.compress(data, 1))


def refusal_of(path: Path, form: FileForm) -> str | None:
    """Return the message with which a file is refused, or None.  Errors of other types pass."""
    try:
        read_crowd(path, form=form, repeats="keep")
    except FileError as error:
        return str(error)
    return None


def words_of(form: FileForm) -> list[str]:
    return [] if form.layout == "long" else ["--answers-format", form.layout]


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_gives_a_crowd_or_one_line(tmp_path: Path, capfd, reader: str) -> None:
    out = tmp_path / "out.csv"
    n_read = n_refused = 0
    for seed in range(N_INPUTS):
        name, form, data = fuzzed(reader, seed)
        path = tmp_path / name
        path.write_bytes(data)
        started = time.monotonic()
        refusal = refusal_of(path, form)
        assert time.monotonic() - started < SECONDS, seed
        if refusal is None:
            n_read += 1
        else:
            n_refused += 1
            assert str(path) in refusal, seed
            assert len(refusal.splitlines()) == 1, seed
            assert len(refusal) < 1500, seed
        if seed % (N_INPUTS // N_COMMANDS) == 0:
            capfd.readouterr()
            code = main(
                ["aggregate", str(path), "--method", "mv", "--repeats", "keep", "--out", str(out), *words_of(form)]
            )
            check_outcome(code, capfd.readouterr().err, out, tmp_path)
    assert n_read + n_refused == N_INPUTS
    assert n_read > N_INPUTS / 20
    assert n_refused > N_INPUTS / 20


@pytest.mark.slow
def test_damaged_files_through_the_command(tmp_path: Path) -> None:
    """Start the real command on a few dozen of the files; two processes run at a time."""
    waiting = [(reader, seed) for seed in (1, 2) for reader in READERS]
    for pair in zip(waiting[::2], waiting[1::2], strict=True):
        started = []
        for reader, seed in pair:
            name, form, data = fuzzed(reader, seed)
            folder = tmp_path / f"{reader} {seed}"
            folder.mkdir()
            (folder / name).write_bytes(data)
            command = [sys.executable, "-m", "crowdml", "aggregate", name, "--method", "mv", "--repeats", "keep"]
            command += ["--out", "out.csv", *words_of(form)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            started.append((folder, process))
        for folder, process in started:
            _, errors = process.communicate(timeout=120)
            check_outcome(process.returncode, errors, folder / "out.csv", folder)


def check_outcome(code: int, errors: str, out: Path, folder: Path) -> None:
    """Check the exit code, the lines on standard error, and that the output is whole or absent."""
    notes = [line for line in errors.splitlines() if "error:" not in line]
    assert all("read as cp1252" in line for line in notes), errors
    if code == 0:
        assert "error:" not in errors
        assert len(pd.read_csv(out, dtype=str)) >= 1
        out.unlink()
    else:
        assert code == 2
        assert sum("error:" in line for line in errors.splitlines()) == 1, errors
        assert not out.exists()
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
