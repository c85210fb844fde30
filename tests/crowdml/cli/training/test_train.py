from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from crowdml.cli.main import main
from crowdml.cli.training.recipe_options import HELP
from crowdml.cli.training.training_progress import TrainingProgress
from crowdml.files import read_crowd
from crowdml.learning.checkpoint import Checkpoint
from crowdml.learning.recipe import Recipe
from crowdml.networks import build_network
from crowdml.training.classifier import CrowdClassifier
from crowdml.training.run_folder import RunFolder
from tests.crowds import simulated

N_ITEMS, N_LABELLED, N_CLASSES = 120, 100, 3
QUICK = "--epochs 6 --lr 0.02 --batch-size 32 --device cpu"
NAMES = np.array(["cat", "dog", "eel"])


def run(line: str) -> int:
    return main(line.split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: x.npy, answers.csv of its first hundred items, test.npy and truth.csv."""
    monkeypatch.chdir(tmp_path)
    crowd, truth = simulated(N_ITEMS, 5, N_CLASSES)
    features = np.random.default_rng(0).normal(size=(2 * N_ITEMS, 4))
    features[np.arange(2 * N_ITEMS), np.tile(truth, 2)] += 3
    np.save("x.npy", features[:N_ITEMS])
    np.save("test.npy", features[N_ITEMS:])
    frame = crowd.to_frame().assign(label=lambda rows: NAMES[rows["label"]])
    frame[frame["task"] < N_LABELLED].to_csv("answers.csv", index=False)
    pd.DataFrame({"task": np.arange(N_ITEMS), "label": NAMES[truth]}).to_csv("truth.csv", index=False)
    return tmp_path


def test_everything_is_written_for_every_item(folder: Path, capsys) -> None:
    assert run(f"train x.npy answers.csv {QUICK} --test test.npy --test-labels truth.csv --out run") == 0
    out = capsys.readouterr().out
    assert "items without a label, not trained on: 20 (100, 101, 102, ...)" in out
    predictions = pd.read_csv("run/predictions.csv")
    assert predictions.columns.tolist() == ["task", "label", "p_cat", "p_dog", "p_eel"]
    assert predictions["task"].tolist() == list(range(N_ITEMS))
    shares = predictions[["p_cat", "p_dog", "p_eel"]].to_numpy()
    assert shares.sum(axis=1) == pytest.approx(np.ones(N_ITEMS))
    assert predictions["label"].tolist() == NAMES[shares.argmax(axis=1)].tolist()
    assert len(pd.read_csv("run/consensus.csv")) == N_LABELLED
    workers = pd.read_csv("run/workers.csv")
    assert workers["n_labels"].tolist() == [N_LABELLED] * 5
    assert workers["quality"].iloc[-1] > workers["quality"].iloc[0]
    assert len(pd.read_csv("run/confusion.csv")) == 5 * N_CLASSES**2
    curves = pd.read_csv("run/curves.csv")
    assert curves[curves["metric"] == "train_loss"]["step"].tolist() == [1, 2, 3, 4, 5, 6]
    report = json.loads(Path("run/report.json").read_text())
    assert report["test"]["accuracy"] > 0.9
    assert report["test"]["accuracy"] == pytest.approx(curves[curves["metric"] == "test_accuracy"]["value"].iloc[-1])
    assert (report["n_items"], report["n_labelled"], report["n_workers"]) == (N_ITEMS, N_LABELLED, 5)
    assert report["settings"]["recipe"]["epochs"] == 6
    assert f"test accuracy   {report['test']['accuracy']:.4f}" in out
    assert not Path("run/checkpoints").exists()


def test_the_weights_give_the_predictions_by_hand(folder: Path) -> None:
    assert run(f"train x.npy answers.csv --method mv {QUICK} --out run --format parquet") == 0
    description = json.loads(Path("run/model.json").read_text())
    features = np.load("x.npy")
    labelled = features[:N_LABELLED]
    inputs = (features - labelled.mean(axis=0)) / labelled.std(axis=0)
    network = build_network("mlp128", tuple(description["inputs"]["in_shape"]), len(description["classes"]))
    network.load_state_dict(torch.load("run/weights.pt", weights_only=True))
    with torch.inference_mode():
        expected = network.eval()(torch.tensor(inputs, dtype=torch.float32)).softmax(dim=1).numpy()
    assert pd.read_parquet("run/predictions.parquet").iloc[:, 2:].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert run("predict run x.npy --device cpu --out again.csv") == 0
    assert pd.read_csv("again.csv").iloc[:, 2:].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert CrowdClassifier.load("run", device="cpu").predict_proba(features) == pytest.approx(expected, abs=1e-5)


def test_a_run_that_is_done_is_not_computed_again(folder: Path, capsys) -> None:
    line = f"train x.npy answers.csv {QUICK} --out run"
    assert run(line) == 0
    before = Path("run/predictions.csv").stat().st_mtime_ns
    assert run(line) == 0
    assert "run holds this run, done" in capsys.readouterr().out
    assert Path("run/predictions.csv").stat().st_mtime_ns == before
    assert run(f"{line} --lr 0.03 --method-options max_iter=7") == 2
    err = capsys.readouterr().err
    assert "recipe.lr was 0.02, now 0.03" in err
    assert "method_options.max_iter was None, now 7" in err
    frame = pd.read_csv("answers.csv")
    frame.iloc[1:].to_csv("answers.csv", index=False)
    assert run(line) == 2
    assert "labels was" in capsys.readouterr().err
    assert run(f"{line} --overwrite") == 0
    assert Path("run/predictions.csv").stat().st_mtime_ns > before
    # Every file of a run is known as such.
    run_folder = RunFolder(Path("run"))
    run_folder.begin(run_folder.settings(), overwrite=True)
    assert [path.name for path in Path("run").iterdir()] == ["settings.json"]


def test_a_refused_run_leaves_its_folder_free(folder: Path, capsys) -> None:
    assert run(f"train x.npy answers.csv {QUICK} --network lenet --out run") == 2
    assert "needs images" in capsys.readouterr().err
    assert run(f"train x.npy answers.csv {QUICK} --out run") == 0


@pytest.mark.parametrize("point", [4, 10])
def test_an_interrupted_run_ends_as_one_that_was_not(folder: Path, monkeypatch, capsys, point: int) -> None:
    line = f"train x.npy answers.csv --method labnet --method-options max_iter=2 {QUICK}"
    assert run(f"{line} --out whole") == 0
    monkeypatch.setattr(Checkpoint, "is_due", True)  # in place of a minute
    keep = RunFolder.keep_point
    n_points = 0

    def stop(self: RunFolder, *given) -> None:
        nonlocal n_points
        n_points += 1
        if n_points == point:
            raise KeyboardInterrupt
        keep(self, *given)

    monkeypatch.setattr(RunFolder, "keep_point", stop)
    assert run(f"{line} --out run") == 130
    assert "the same command continues from the last checkpoint in run" in capsys.readouterr().err
    assert not Path("run/report.json").exists()
    assert run(f"{line} --lr 0.5 --out run") == 2
    assert "recipe.lr was 0.02, now 0.5" in capsys.readouterr().err
    assert run(f"{line} --out run") == 0
    assert "continuing the run in run" in capsys.readouterr().out
    for table in ("predictions", "curves", "workers"):
        assert Path(f"run/{table}.csv").read_text() == Path(f"whole/{table}.csv").read_text()


def damage(state: dict, kind: str) -> object:
    """Return the state of a training without a part, or with a value of another type."""
    if kind == "list":
        return [1]
    part, _, key = kind.partition(".")
    if key:
        return {**state, part: {name: value for name, value in state[part].items() if name != key}}
    return {name: value for name, value in state.items() if name != part}


@pytest.mark.parametrize("kind", ["cut", "list", "model", "optimizer", "best.loss", "done"])
def test_a_damaged_checkpoint_is_one_line(folder: Path, monkeypatch, capsys, kind: str) -> None:
    line = f"train x.npy answers.csv --method mv {QUICK} --out run"
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "is_due", True)
        patch.setattr(RunFolder, "keep_point", raise_at(RunFolder.keep_point, step=3))
        assert run(line) == 130
    path = Path("run/checkpoints/training-000.pt")
    if kind in ("cut", "empty"):
        path.write_bytes(path.read_bytes()[: 1000 if kind == "cut" else 0])
    else:
        torch.save(damage(torch.load(path, weights_only=True), kind), path)
    capsys.readouterr()
    assert run(line) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "run/checkpoints/training-000.pt cannot be read as a checkpoint" in err
    assert "delete it to train anew" in err
    path.unlink()
    assert run(line) == 0


def raise_at(keep, step: int):
    """Return `RunFolder.keep_point` with an interruption at the first point of an epoch."""

    def stop(self: RunFolder, at: int, metric: str, value: float) -> None:
        if at == step:
            raise KeyboardInterrupt
        keep(self, at, metric, value)

    return stop


@pytest.mark.parametrize("overwrite", ["", "--overwrite"])
@pytest.mark.parametrize("content", ["[1]", "null", '{"files": []}'])
def test_foreign_files_outlive_a_training(folder: Path, capsys, content: str, overwrite: str) -> None:
    Path("mine/checkpoints").mkdir(parents=True)
    for name in ("settings.json", "report.json", "checkpoints/best.pt"):
        Path("mine", name).write_text(content)
    assert run(f"train x.npy answers.csv {QUICK} --out mine {overwrite}") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "its file settings.json would be replaced" in err
    assert {path.read_text() for path in Path("mine").rglob("*") if path.is_file()} == {content}
    assert run(f"train x.npy answers.csv {QUICK} --out x.npy {overwrite}") == 2
    assert "x.npy is a file" in capsys.readouterr().err
    np.load("x.npy")


def make_images(place: Path, names: list[str], seed: int = 0) -> None:
    """Grey 8 x 8 images; the class, the place of a bright bar, goes round."""
    rng = np.random.default_rng(seed)
    for number, name in enumerate(names):
        pixels = rng.integers(0, 60, (8, 8)).astype(np.uint8)
        row = 2 * (number % N_CLASSES)
        pixels[row : row + 2] += 150
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / name)


def test_a_folder_of_images(folder: Path, capsys) -> None:
    make_images(folder / "photos", [f"{number // 60}/i{number:03}.png" for number in range(N_ITEMS)])
    (folder / "photos/0/i001.png").write_bytes(b"no image")
    frame = pd.read_csv("answers.csv")
    # With and without the ending, as people write it, and one task that is not there.
    frame["task"] = [f"{task // 60}/i{task:03}{'.png' if task % 2 else ''}" for task in frame["task"]]
    frame.loc[len(frame)] = ["7/i777.png", 0, "cat"]
    frame.to_csv("answers.csv", index=False)
    line = f"train photos answers.csv --network cnn_digits {QUICK} --out run"
    assert run(line) == 0
    out = capsys.readouterr().out
    assert "images that cannot be read, left out: 1 (photos/0/i001.png: not an image of a known format)" in out
    assert "tasks with labels but no item, left out: 2 (0/i001.png, 7/i777.png)" in out
    assert "items without a label, not trained on: 20" in out
    predictions = pd.read_csv("run/predictions.csv")
    assert len(predictions) == N_ITEMS - 1
    number = predictions["task"].str[-3:].astype(int)
    assert (predictions["label"] == NAMES[number % N_CLASSES]).mean() > 0.8
    assert json.loads(Path("run/report.json").read_text())["n_skipped"] == 1
    listed = json.loads(Path("run/skipped.json").read_text())["images"]
    assert listed[0]["skipped"] == {"photos/0/i001.png": "not an image of a known format"}
    assert run("predict run photos --device cpu --out again.csv") == 0
    assert pd.read_csv("again.csv")["label"].tolist() == predictions["label"].tolist()
    Image.new("L", (9, 8)).save("photos/odd.png")
    assert run(line) == 2
    assert "images have 2 sizes, such as 8 x 8 (119), 9 x 8 (1); give --side PIXELS" in capsys.readouterr().err


@pytest.mark.parametrize("stream", ["", "--stream"])
def test_a_layout_that_holds_the_labels(folder: Path, stream: str) -> None:
    for part, n_items in (("train", 60), ("val", 30)):
        make_images(folder / "set" / part, [f"{NAMES[n % 3]}/i{n}.png" for n in range(n_items)])
    assert run(f"train set --network cnn_digits --side 8 {stream} {QUICK} --out run") == 0
    report = json.loads(Path("run/report.json").read_text())
    assert report["test"]["n_items"] == 30
    assert report["test"]["accuracy"] > 0.8
    assert len(pd.read_csv("run/predictions.csv")) == 60


@pytest.mark.parametrize("stream", ["", "--stream"])
def test_everything_in_a_folder_that_is_left_out_is_named(folder: Path, capsys, stream: str) -> None:
    for part, n_items in (("train", 60), ("val", 9)):
        make_images(folder / "set" / part, [f"{NAMES[n % 3]}/i{n}.png" for n in range(n_items)])
    for number in range(3):
        Path("set/train/cat", f"{number}.png").write_text("no image")
    Path("set/train/cat/notes.txt").touch()
    Path("set/train/fox").mkdir()
    Path("set/train/fox/a.heic").touch()
    assert run(f"train set --network cnn_digits --side 8 {stream} {QUICK} --out run") == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    reason = "not an image of a known format"
    files = ", ".join(f"set/train/cat/{number}.png: {reason}" for number in range(3))
    wanted = [
        f"note: images that cannot be read, left out: 3 ({files})",
        "note: class folders without an image, left out: 1 (set/train/fox)",
        "note: files without the ending of an image, left out: 2 (set/train/cat/notes.txt, set/train/fox/a.heic)",
    ]
    assert notes == wanted
    report = json.loads(Path("run/report.json").read_text())
    assert (report["n_skipped"], report["n_left_out"]) == (3, 3)
    assert [f"note: {note}" for note in report["notes"]] == wanted
    listed = json.loads(Path("run/skipped.json").read_text())["images"][0]
    assert listed["left_out"]["set/train/fox"] == "class folders without an image"
    assert len(listed["skipped"]) == 3
    assert run("predict run set --device cpu --out p.csv") == 0
    out = capsys.readouterr().out
    assert wanted[0] in out
    assert wanted[2] in out


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet"])
def test_tables_of_features(folder: Path, capsys, form: str) -> None:
    values = np.load("x.npy")
    frame = pd.DataFrame(values, columns=list("abcd")).assign(q=np.arange(N_ITEMS))[["a", "q", "b", "c", "d"]]
    frame = frame.sample(frac=1, random_state=0)
    write = frame.to_parquet if form == "parquet" else frame.to_csv
    write(f"x.{form}", index=False)
    pd.read_csv("answers.csv").rename(columns={"task": "q"}).to_csv("named.csv", index=False)
    assert run(f"train x.{form} named.csv --task-column q --method mv {QUICK} --out run") == 0
    predictions = pd.read_csv("run/predictions.csv")
    assert predictions["q"].tolist() == frame["q"].tolist()
    assert (predictions["label"] == NAMES[predictions["q"] % 3]).mean() > 0.8
    frame[["q", "b", "a", "c", "d"]].to_csv("turned.csv", index=False)
    assert run("predict run turned.csv --task-column q --out p.csv") == 2
    assert "feature 'b' stands where 'a' stood in training" in capsys.readouterr().err


def test_classes_on_one_side_only_are_said(folder: Path, capsys) -> None:
    truth = pd.read_csv("truth.csv")
    truth.loc[:9, "label"] = "fox"
    truth.loc[200] = [777, "cat"]
    truth.drop(index=20).to_csv("truth.csv", index=False)
    line = (
        f"train x.npy answers.csv {QUICK} --classes cat dog eel gnu --test test.npy --test-labels truth.csv --out run"
    )
    assert run(line) == 0
    out = capsys.readouterr().out
    assert "classes without any item, never learned: 1 (gnu)" in out
    assert "test classes that nobody gave in training: 1 (fox); their 10 items count as wrong" in out
    assert "test labels without an item, left out: 1 (777)" in out
    assert "test items without a label, left out: 1 (20)" in out
    report = json.loads(Path("run/report.json").read_text())
    assert report["test"]["n_items"] == N_ITEMS - 1
    assert report["test"]["accuracy"] <= (N_ITEMS - 11) / (N_ITEMS - 1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("x.npy absent.csv", "absent.csv: no such file"),
        ("absent.npy answers.csv", "absent.npy: no such file or folder"),
        ("answers.csv answers.csv", "answers.csv, line 2: column 'label' must be a number, got 'eel'"),
        ("twice.csv answers.csv", "twice.csv: task 0 occurs 2 times"),
        ("words.csv answers.csv", "words.csv, line 3: column 'a' must be a number, got 'much'"),
        ("x.npy", "x.npy does not give the classes of its items; give a file of LABELS"),
        ("x.npy other.csv", "none of the 1 tasks with labels is among the 120 items of x.npy: t1 there, 0 here"),
        ("x.npy one.csv", "every label is cat"),
        ("x.npy answers.csv --method emm", "did you mean em"),
        ("x.npy answers.csv --method em+nnaq", "did you mean nnaqc"),
        ("x.npy answers.csv --method-options steps=3", "max_iter"),
        ("x.npy answers.csv --network mlp12", "did you mean mlp128"),
        ("x.npy answers.csv --epochs 0", "recipe.epochs must be at least 1, got 0"),
        ("x.npy answers.csv --inputs whitened", "whitened"),
        ("x.npy answers.csv --device gpu", "device 'gpu' cannot be used"),
        ("x.npy answers.csv --test test.npy", "--test and --test-labels go together"),
        ("x.npy answers.csv --seed -1", "--seed must be a whole number in"),
        ("x.npy answers.csv --classes cat dog", "'eel', which is not among the classes cat, dog"),
        ("x.npy answers.csv --lr 1e14 --optimizer sgd", "the training loss is"),
        ("empty answers.csv", "empty holds no images"),
        ("photos answers.csv --train-crop area", "add --stream"),
        ("x.npy answers.csv --workers 0", "argument --workers: must be at least 1, got 0"),
        ("x.npy answers.csv --cpus 0", "argument --cpus: must be at least 1, got 0"),
        ("x.npy answers.csv --workers 2 --device cuda:1", "--device cuda:1 names one device for 2 processes"),
        ("x.npy answers.csv --workers 2 --method mv+elr", "keeps values per item and trains in one process"),
        ("x.npy answers.csv --workers 2 --method agg_net", "keeps values per item and trains in one process"),
        ("absent.npy answers.csv --workers 2 --method divide_mix", "keeps values per item"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(folder: Path, capsys, line: str, says: str) -> None:
    Path("empty").mkdir()
    make_images(folder / "photos", ["0.png", "1.png"])
    Path("other.csv").write_text("task,worker,label\nt1,w,cat\nt1,v,dog\n")
    Path("one.csv").write_text("task,worker,label\n0,w,cat\n1,w,cat\n")
    Path("twice.csv").write_text("task,a\n0,1.5\n0,2.5\n")
    Path("words.csv").write_text("task,a\n0,1.5\n1,much\n")
    assert run(f"train {line} --out run") == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("crowdml train: ")]
    assert len(err) == 1
    assert says in err[0]
    assert Path("run").exists() == ("1e14" in line)  # only a training that began leaves something


def test_every_field_of_a_recipe_has_an_option(capsys) -> None:
    with pytest.raises(SystemExit):
        run("train --help")
    out = capsys.readouterr().out
    for item in fields(Recipe):
        assert f"--{item.name.replace('_', '-')} " in out
    assert set(HELP) == {item.name for item in fields(Recipe)}


def test_predicting_without_a_network_says_what_is_missing(folder: Path, capsys) -> None:
    assert run("predict . x.npy --out p.csv") == 2
    assert "holds no trained network: model.json is missing" in capsys.readouterr().err


def test_progress_is_one_line_from_the_run_folder(tmp_path: Path) -> None:
    clock = iter(np.arange(0.0, 100, 4.0))
    run_folder = RunFolder(tmp_path)
    progress = TrainingProgress(run_folder, lambda: float(next(clock)))
    assert not progress.look()
    lines = []
    for step in range(1, 5):
        RunFolder(tmp_path).keep_share(1, step / 4)
        if step == 3:
            run_folder.keep_point(7, "train_loss", 0.25)
            run_folder.keep_point(7, "train_gap", 0.1)
            run_folder.keep_point(7, "test_accuracy", 0.875)
        assert progress.look()
        lines.append(progress.line())
    # From the first look on, a quarter takes four seconds.
    assert lines == [
        "training 2: 25 %, time left unknown",
        "training 2: 50 %, time left 00:08",
        "training 2, epoch 7 done, loss 0.25, test accuracy 0.875: 75 %, time left 00:04",
        "training 2, epoch 7 done, loss 0.25, test accuracy 0.875: 100 %, time left 00:00",
    ]


def test_a_network_can_start_from_weights(folder: Path, capsys) -> None:
    start = build_network("mlp128", (4,), 7)
    torch.save(start.state_dict(), "start.pth")
    line = "train x.npy answers.csv --method mv --epochs 1 --lr 1e-9 --device cpu --out run"
    assert run(f"{line} --weights start.pth") == 0
    trained, first = torch.load("run/weights.pt", weights_only=True), start.state_dict()
    assert torch.allclose(trained["1.weight"], first["1.weight"], atol=1e-6)
    assert run(line) == 2
    assert "weights was start.pth" in capsys.readouterr().err
    assert run(f"{line}2 --weights absent.pth") == 2
    assert "absent.pth" in capsys.readouterr().err


def test_labels_are_read_as_aggregate_reads_them(folder: Path) -> None:
    frame = pd.read_csv("answers.csv")
    pd.concat([frame, frame[:3]]).to_csv("answers.csv", index=False)
    assert run(f"train x.npy answers.csv {QUICK} --out run") == 2
    assert run(f"train x.npy answers.csv --repeats first {QUICK} --out run") == 0
    n_read = read_crowd("answers.csv", repeats="first").n_annotations
    assert json.loads(Path("run/report.json").read_text())["n_annotations"] == n_read == len(frame)
