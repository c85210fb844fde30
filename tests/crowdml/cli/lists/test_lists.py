from __future__ import annotations

from crowdml import datasets
from crowdml.cli.main import main
from crowdml.methods.registry import ALIASES, REGISTRY
from sweeps.grid.presets import PRESETS


def test_every_method_is_listed_with_its_aliases_summary_and_paper(capsys) -> None:
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    for name, entry in REGISTRY.items():
        assert name in out
        assert entry.summary in out
        assert entry.paper in out
    for alias in ALIASES:
        assert alias in out


def test_methods_of_one_kind(capsys) -> None:
    assert main(["methods", "--kind", "learner"]) == 0
    out = capsys.readouterr().out
    assert "cross-entropy" in out
    assert "majority" not in out


def test_methods_by_name_and_the_nearest_of_one_that_there_is_not(capsys) -> None:
    assert main(["methods", "majority_vote", "base"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["mv,", "base"]
    assert main(["methods", "labnett"]) == 2
    assert "unknown method 'labnett'; did you mean labnet" in capsys.readouterr().err


def test_every_data_set_is_listed_with_whether_it_is_at_hand(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("CROWDML_DATA_ROOT", str(tmp_path))
    (tmp_path / "crowds").mkdir()
    for name in ("web.csv", "web_truth.csv"):
        (tmp_path / "crowds" / name).touch()
    assert main(["datasets"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert {row.name for row in datasets.describe()} <= set(lines)
    assert lines["web"].split()[1:7] == ["crowd", "2,665", "177", "15,567", "5", "yes"]
    assert " no " in lines["rte"]
    assert " no " in lines["mnist"]
    assert lines["digits"].split()[-1] == "yes"
    assert f"files lie in {tmp_path}" in out


def test_one_data_set_in_full(capsys) -> None:
    assert main(["datasets", "web"]) == 0
    out = capsys.readouterr().out
    row = next(row for row in datasets.describe() if row.name == "web")
    assert row.citation is not None
    assert row.citation in out
    assert "15,567" in out
    assert main(["datasets", "wep"]) == 2
    assert "did you mean web" in capsys.readouterr().err


def test_every_preset_is_listed_with_its_number_of_cells(capsys) -> None:
    assert main(["presets"]) == 0
    rows = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows == {name: f"{len(preset.cells()):,}" for name, preset in PRESETS.items()}
    assert main(["presets", "laptp"]) == 2
    assert "did you mean laptop" in capsys.readouterr().err
