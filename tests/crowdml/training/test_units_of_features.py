"""The unit and the offset of a feature change neither the training nor the predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crowdml.cli.main import main
from crowdml.training.classifier import CrowdClassifier

DATA = Path(__file__).parents[2] / "data"
QUICK = "--method mv --epochs 6 --lr 0.02 --device cpu"


def data(n_items: int = 90) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = np.arange(n_items) % 3
    features = rng.normal(size=(n_items, 3))
    features[np.arange(n_items), truth] += 4
    return features, truth


def classifier(**options) -> CrowdClassifier:
    return CrowdClassifier(**{"method": "mv", "epochs": 4, "lr": 0.02, "batch_size": 32, "device": "cpu", **options})


@settings(max_examples=8, deadline=None)
@given(st.floats(-30, 30), st.floats(-1e10, 1e10))
def test_any_unit_and_offset_gives_the_answer_behind_a_standard_scaler(exponent: float, offset: float) -> None:
    features, truth = data()
    measured = (features + offset) * 10.0**exponent
    scaled = make_pipeline(StandardScaler(), classifier()).fit(features, truth).predict_proba(features)
    assert classifier().fit(measured, truth).predict_proba(measured) == pytest.approx(scaled, abs=0.002)


@pytest.mark.parametrize("measure", [lambda x: x * 1e-9, lambda x: x * 1e-40, lambda x: x * 1e39, lambda x: x + 1.7e9])
def test_a_saved_loaded_and_exported_network_predicts_the_same(measure, tmp_path: Path) -> None:
    features, truth = data()
    values = measure(features)
    fitted = classifier().fit(values, truth)
    expected = fitted.predict_proba(values)
    assert (expected.argmax(axis=1) == truth).mean() > 0.9
    fitted.save(tmp_path)
    assert CrowdClassifier.load(tmp_path, device="cpu").predict_proba(values) == pytest.approx(expected, abs=1e-6)
    inputs = json.loads((tmp_path / "model.json").read_text())["inputs"]
    seen = ((values - np.array(inputs["centre"])) * np.array(inputs["scale"])).astype(np.float32)
    exported = torch.export.load(tmp_path / "network.pt2").module()(torch.from_numpy(seen)).softmax(dim=1)
    assert exported.detach().numpy() == pytest.approx(expected, abs=1e-5)


def test_values_in_nanometres_train_and_predict_from_files(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    nano = pd.read_csv(DATA / "features_nano.csv")
    nano.assign(**{name: nano[name] * 1e9 for name in ("i1", "i2", "i3")}).to_csv("plain.csv", index=False)
    nano.set_index("task").assign(year=2024).reset_index().to_parquet("nano.parquet")
    accuracies, found = [], []
    for items in (DATA / "features_nano.csv", "plain.csv", "nano.parquet"):
        line = f"train {items} {DATA / 'features_lab.csv'} {QUICK} --test {items} --overwrite --out run"
        assert main([*line.split(), "--test-labels", str(DATA / "features_truth.csv")]) == 0
        accuracies.append(json.loads(Path("run/report.json").read_text())["test"]["accuracy"])
        assert main(f"predict run {items} --out found.csv".split()) == 0
        found.append(pd.read_csv("found.csv")[["p_a", "p_b", "p_c"]].to_numpy())
    assert min(accuracies) > 0.95
    assert accuracies[0] == accuracies[1] == accuracies[2]
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    out = " ".join(capsys.readouterr().out.split())
    assert "note: features that are constant in training, left out: 1 (year)" in out


def test_constant_features_are_named_and_cannot_be_all() -> None:
    features, truth = data()
    frame = pd.DataFrame(features, columns=["a", "b", "c"]).assign(year=2024.0, noise=[0.3, 0.1 + 0.2] * 45)
    with pytest.warns(UserWarning, match=r"constant in training, left out: 2 \(year, noise\)"):
        fitted = classifier().fit(frame, truth)
    assert fitted.predict_proba(frame.assign(year=-1e9)) == pytest.approx(fitted.predict_proba(frame))
    with pytest.raises(ValueError, match="every feature is constant in the training items; nothing can be learned"):
        classifier().fit(frame[["year", "noise"]], truth)
