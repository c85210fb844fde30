from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.store.scrubbing import scrub


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("s3://key:hush@bucket/run?region=x&secret_key=hush", "s3://***@bucket/run?***"),
        ("--results 's3://bucket/x?access_key=hush' --seeds 1", "--results 's3://bucket/x?***' --seeds 1"),
        ("postgresql://me:hush@host:5432/db", "postgresql://***@host:5432/db"),
        ("full_grid.py --api-key hush --seeds 0", "full_grid.py --api-key *** --seeds 0"),
        ("full_grid.py --key=hush", "full_grid.py --key=***"),
        ("AWS_SECRET_ACCESS_KEY=hush/hush+hush python x.py", "AWS_SECRET_ACCESS_KEY=*** python x.py"),
        ("{'password': 'hush hush', 'n': 3}", "{'password': ***, 'n': 3}"),
        ('{"authToken": "hush"}', '{"authToken": ***}'),
        ("Authorization: Bearer hushhushhush", "Authorization: *** ***"),
        ("id AKIAABCDEFGHIJKLMNOP here", "id *** here"),
        ("token ghp_hushhushhushhushhush", "token ***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nhush\n-----END RSA PRIVATE KEY-----\nrest", "***\nrest"),
        ("-----BEGIN PRIVATE KEY-----\nhush", "***"),
    ],
)
def test_secrets_are_removed(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed
    assert "hush" not in scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "python sweeps/full_grid.py --preset labels --only 'method == \"em\" and n_workers > 3' --results s3://bucket/x",
        "KeyError: 'recipe'\n    return sorted(rows, key=len)",
        'File "/home/me/crowdml/cell.py", line 3, in id\n    text = json.dumps(content, sort_keys=True)',
        "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "see https://docs.example.org/page#part",
    ],
)
def test_the_rest_stays(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [("PWD", "/home/me/work dir"), ("OLDPWD", "/home/me/older"), ("HOME", "/home/me"), ("PATH", "/usr/bin:/bin"),
     ("TMPDIR", "/scratch/me/temporary"), ("USE_TOKEN", "1"), ("TOKENIZERS_PARALLELISM", "false"),
     ("MAX_TOKENS", "12345678"), ("DB_PASSWORD", "postgres"), ("LOGNAME", "somebody")],
)  # fmt: skip
def test_harmless_values_of_variables_stay(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    text = f"cd '{value}/results'; true 1 false; postgresql://host/db takes 9123456780 s; HOME=/home/me PWD=/home/me/x"
    kept = text if value.startswith("/") or name not in ("MAX_TOKENS", "DB_PASSWORD") else text.replace(value, "***", 1)
    assert scrub(text) == kept


def test_a_variable_with_the_path_of_a_secret_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    assert scrub(f"crowdml status {tmp_path}/r") == f"crowdml status {tmp_path}/r"


@pytest.mark.parametrize(
    ("name", "value"),
    [("MYSQL_PWD", "hushhush"), ("GITHUB_TOKEN", "hushhushhushhushhush"), ("DB_PASSWORD", "/hushhush")],
)
def test_secrets_of_variables_are_removed(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert scrub(f"connect --with {value}, x={value}") == "connect --with ***, x=***"
    assert "hush" not in scrub(f"{name}={value} crowdml sweep; UID=sa;PWD=hush;pwd=/hush")


@given(st.text())
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


def test_long_texts_take_no_time() -> None:
    start = time.perf_counter()
    for piece in (
        "a",
        "a-",
        "secret_",
        "--secret-",
        "a://",
        "-----BEGIN PRIVATE KEY-----",
        "eyJaaaaaaaaa-",
        "key ",
        " ",
    ):
        scrub(piece * (100_000 // len(piece)))
    assert time.perf_counter() - start < 10
