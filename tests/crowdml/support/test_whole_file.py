"""`whole_file`: a file is written completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdml.support.whole_file import whole_file


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_appears_when_the_block_ends(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")
    with whole_file(path, durable=durable) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there_and_no_temporary_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as temporary:  # noqa: PT012
        temporary.write_text("a part")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
