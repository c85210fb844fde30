from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.report import write_report
from crowdml.cli.main import main
from tests.analysis.frames import broken, folder, ok, two_methods


def test_a_report_holds_tables_figures_comparison_and_failures(tmp_path: Path) -> None:
    results = [ok(0.08, dataset="cifar10_labels", pattern="bimodal", n_workers=9, method="em"), broken(seed=3)]
    report = write_report(folder(tmp_path / "r", results), tmp_path / "out")
    assert all(path.stat().st_size for path in report.files)
    names = {path.name for path in report.files}
    assert names == {
        "report.html", "tables.md", "tables.tex", "table-01-error.csv", "01-cifar10_labels-error.png",
        "01-cifar10_labels-error.svg", "published.csv", "published.md",
    }  # fmt: skip
    page = report.html.read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<span class=green>-0.51</span>" in page
    assert "2, 1 of them failed" in page
    assert "data:image/png;base64," in page
    assert "abc" in page


def test_the_command_prints_and_writes(tmp_path: Path, capsys) -> None:
    location = two_methods(tmp_path / "r")
    assert main(["analyze", str(location)]) == 0
    printed = capsys.readouterr().out
    assert "aggregation error (%)" in printed
    assert (location / "report" / "report.html").exists()
    # The report is in the results folder; the folder is still valid.
    assert main(["analyze", str(location), "--out", str(tmp_path / "elsewhere")]) == 0


def test_bad_folders_get_one_line_and_exit_code_2(tmp_path: Path, capsys) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    for location, message in ((tmp_path / "none", "holds no cells"), (tmp_path / "other", "no crowdml.json")):
        assert main(["analyze", str(location)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_analysis_imports_neither_ray_nor_torch(tmp_path: Path) -> None:
    location = two_methods(tmp_path / "r")
    code = (
        f"import sys; from crowdml.cli.main import main; main(['analyze', {str(location)!r}]); "
        "sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("full", ["tables.md", "table-01", ".png", ".svg", "report.html"])
def test_a_full_disk_during_the_report_is_one_line_that_says_how_to_go_on(
    full: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    location = two_methods(tmp_path / "r")
    write_bytes, write_text = Path.write_bytes, Path.write_text

    def bytes_to_a_full_disk(path: Path, data: bytes) -> int:
        if full not in path.name:
            return write_bytes(path, data)
        write_bytes(path, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def text_to_a_full_disk(path: Path, text: str, encoding: str | None = None) -> int:
        return write_text(path, text, encoding) if full not in path.name else bytes_to_a_full_disk(path, text.encode())

    monkeypatch.setattr(Path, "write_bytes", bytes_to_a_full_disk)
    monkeypatch.setattr(Path, "write_text", text_to_a_full_disk)
    assert main(["analyze", str(location)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "No space left on device; the results are safe" in error
    assert f"crowdml analyze {location}" in error
    assert not [path for path in (location / "report").iterdir() if full in path.name]
