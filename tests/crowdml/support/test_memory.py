from __future__ import annotations

import time
from pathlib import Path

import pytest

from crowdml.support import memory
from crowdml.support.memory import TooLargeError, check_memory, free_memory, in_words


def test_a_refusal_is_one_line_with_the_numbers_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 2_500_000_000)
    check_memory(2e9, "work", "wait")
    with pytest.raises(TooLargeError) as refused:
        check_memory(4e12, "work", "do less")
    assert str(refused.value) == "work needs about 4.0 TB of memory, 2.5 GB are free; do less"
    assert (refused.value.needed, refused.value.free) == (4e12, 2_500_000_000)
    assert in_words(12_000_000) == "12 MB"


def test_the_free_memory_is_positive_and_known_at_once() -> None:
    started = time.perf_counter()
    assert 0 < free_memory() < 1e16
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("limit", "usage", "cache", "files"),
    [
        ("memory.max", "memory.current", "inactive_file", ["inner/memory.max", "memory.max"]),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", ["inner/memory.limit_in_bytes"]),
    ],
)
def test_the_limit_of_every_control_group_counts(
    tmp_path: Path, limit: str, usage: str, cache: str, files: list[str]
) -> None:
    (tmp_path / "inner").mkdir()
    for number, file in enumerate(files, 1):
        folder = (tmp_path / file).parent
        (folder / limit).write_text(f"{number}000\n")
        (folder / usage).write_text("600\n")
        (folder / "memory.stat").write_text(f"anon 5\n{cache} 100\n")
    assert list(memory._left_in(tmp_path, "/inner", limit, usage, cache)) == [500, 1500][: len(files)]


def test_a_group_without_a_limit_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert list(memory._left_in(tmp_path, "/", "memory.max", "memory.current", "inactive_file")) == []
    assert list(memory._left_in(tmp_path, "/of/the/host", "memory.max", "memory.current", "inactive_file")) == []
