"""Crowds of real workers: known figures, facts without loading, and the download of missing files."""

from __future__ import annotations

import http.server
import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crowdml import datasets
from crowdml.aggregation import MajorityVote
from crowdml.datasets import CrowdData, DatasetMissingError, fingerprint, load_crowd
from crowdml.datasets.crowd_files import convert_published
from crowdml.datasets.crowd_sources import SOURCES

# Accuracy of the majority vote, from the READMEs of the data.  A tie of k classes with the right class counts 1/k.
MAJORITY = {
    "bluebird": 0.7593, "rte": 0.8969, "web": 0.7307, "product": 0.8966, "sp_amt": 0.9430, "ms": 0.7042,
    "temp": 0.9361, "zc_us": 0.8613, "music": 0.7042, "sentiment": 0.886,
}  # fmt: skip


def majority_accuracy(data: CrowdData) -> float:
    votes = data.crowd.votes[data.known]
    best = votes == votes.max(axis=1, keepdims=True)
    return float((best / best.sum(axis=1, keepdims=True))[np.arange(len(best)), data.truth[data.known]].mean())


@pytest.mark.parametrize("name", MAJORITY)
def test_the_majority_vote_is_right_as_often_as_published(data_root: Path, name: str) -> None:
    assert majority_accuracy(load_crowd(name, data_root)) == pytest.approx(MAJORITY[name], abs=6e-4)


@pytest.mark.parametrize("name", datasets.crowd_names())
def test_every_crowd_has_the_sizes_in_its_description(data_root: Path, name: str) -> None:
    data = load_crowd(name, data_root)
    described = next(row for row in datasets.describe() if row.name == name)
    assert (data.crowd.n_items, data.crowd.n_workers, data.n_classes) == (
        described.n_items, described.n_workers, described.n_classes
    )  # fmt: skip
    assert (data.crowd.n_annotations, data.known.sum()) == (described.n_annotations, described.n_known)
    assert len(data.class_names) == data.n_classes
    assert data.truth.dtype == np.int64
    assert data.truth.max() < data.n_classes
    assert data.nbytes > 0


def test_known_figures_of_the_larger_crowds(data_root: Path) -> None:
    labelme = load_crowd("labelme", data_root)
    # Rodrigues and Pereira 2018: majority vote .769.
    assert (MajorityVote().fit(labelme.crowd).labels == labelme.truth).mean() == pytest.approx(0.769)
    assert labelme.class_names[:2] == ("highway", "insidecity")
    for name, wrong in (("cifar10n", (0.1723, 0.1812, 0.1764)), ("cifar100n", (0.4020,))):
        data = load_crowd(name, data_root)
        mistakes = data.crowd.label != data.truth[data.crowd.item]
        if name == "cifar10n":
            by_worker = [mistakes[data.crowd.worker == worker].mean() for worker in range(3)]
            assert by_worker == pytest.approx(list(wrong), abs=6e-5)
        else:
            assert mistakes.mean() == pytest.approx(wrong[0], abs=6e-5)
    cifar10h = load_crowd("cifar10h", data_root)
    assert (cifar10h.crowd.label == cifar10h.truth[cifar10h.crowd.item]).mean() == pytest.approx(0.949, abs=1e-3)


def test_music_and_ms_hold_the_same_answers(data_root: Path) -> None:
    ms, music = load_crowd("ms", data_root), load_crowd("music", data_root)
    assert sorted(ms.crowd.labels_per_worker) == sorted(music.crowd.labels_per_worker)


def test_repeated_answers_are_kept(data_root: Path) -> None:
    crowd = load_crowd("zc_us", data_root).crowd
    pairs = crowd.item.astype(np.int64) * crowd.n_workers + crowd.worker
    assert crowd.n_annotations - len(np.unique(pairs)) == 1035


# -------------------------------------------------------------------- without loading


def test_every_data_set_is_described() -> None:
    rows = {row.name: row for row in datasets.describe()}
    assert set(rows) == {*datasets.names(), *datasets.crowd_names()}
    assert {row.kind for row in rows.values()} == {"images", "labels", "crowd"}
    for name in datasets.crowd_names():
        row = rows[name]
        assert row.kind == "crowd"
        assert all((row.summary, row.origin, row.licence, row.citation))
    assert rows["cifar10n"].licence == "CC BY-NC 4.0"


def test_load_knows_the_names_of_images_and_crowds(data_root: Path) -> None:
    assert isinstance(datasets.load("bluebird", data_root), CrowdData)
    assert datasets.load("digits").name == "digits"
    with pytest.raises(ValueError, match="unknown data set 'bluebrd'; did you mean bluebird"):
        datasets.load("bluebrd")
    with pytest.raises(ValueError, match="unknown real crowd 'digit'"):
        load_crowd("digit")


# -------------------------------------------------------------------- missing files


def write_tiny(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "tiny.csv").write_text("task,worker,label\n0,0,1\n0,1,1\n1,1,0\n")
    (folder / "tiny_truth.csv").write_text("task,label\n0,1\n")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a crowd of three answers."""
    source = replace(
        SOURCES["temp"], n_items=2, n_workers=2, n_annotations=3, n_classes=2, n_known=1,
        files=("tiny.csv", "tiny_truth.csv"),
    )  # fmt: skip
    monkeypatch.setitem(SOURCES, "tiny", source)


@pytest.mark.usefixtures("tiny")
def test_an_item_may_have_no_known_truth(tmp_path: Path) -> None:
    write_tiny(tmp_path / "crowds")
    data = load_crowd("tiny", tmp_path)
    assert data.truth.tolist() == [1, -1]
    assert data.known.tolist() == [True, False]
    assert data.class_names == ("0", "1")
    assert fingerprint(data) != fingerprint(replace(data, truth=np.array([1, 0])))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("content", ["task,worker,label\n0,0,1\n", "task,answer\n0,1\n", ""])
def test_an_error_names_damaged_files(tmp_path: Path, content: str) -> None:
    write_tiny(tmp_path / "crowds")
    (tmp_path / "crowds" / "tiny.csv").write_text(content)
    with pytest.raises(DatasetMissingError, match=r"the files of tiny in .*crowds are damaged .*; delete tiny.csv, "):
        load_crowd("tiny", tmp_path)


class _Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("kind", ["hostile", "empty", "words", "other labels"])
def test_a_pickle_that_is_not_the_published_file_is_never_loaded(tmp_path: Path, kind: str) -> None:
    proof = tmp_path / "unpickled"
    hostile = pickle.dumps(_Hostile(proof))
    content = {"empty": b"", "words": b"words", "other labels": pickle.dumps({b"labels": [0] * 10_000})}
    answers, batch = (tmp_path / name for name in SOURCES["cifar10h"].files)
    for path, written in ((answers, b"task,worker,label\n9500,0,3\n"), (batch, content.get(kind, hostile))):
        path.parent.mkdir()
        path.write_bytes(written)
    with pytest.raises(DatasetMissingError, match=r"test_batch has the MD5 sum .*; delete .*test_batch and load again"):
        load_crowd("cifar10h", tmp_path)
    assert not proof.exists()
    pickle.loads(hostile)
    assert proof.exists()


def test_an_error_says_which_files_are_missing_in_which_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissingError) as caught:
        load_crowd("bluebird", tmp_path, download=False)
    message = str(caught.value)
    assert f"bluebird is not in {tmp_path / 'crowds'} and download is off" in message
    assert "Put bluebird.csv, bluebird_truth.csv into that folder" in message
    assert "set CROWDML_DATA_ROOT to the folder that holds crowds" in message
    with pytest.raises(DatasetMissingError, match=r"has no automatic download \(origin: .*UCSC-REAL"):
        load_crowd("cifar10n", tmp_path)


# -------------------------------------------------------------------- download


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the address of a local web server and the folder that it serves."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, directory=str(folder), **options)

        def log_message(self, format: str, *arguments) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_address[1]}", folder
        web.shutdown()
        thread.join()


def publish(name: str, data_root: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish a crowd in the form of its origin: other column names, and workers numbered in another order."""
    address, folder = server
    published = {}
    for kept, (_, checksum) in SOURCES[name].published.items():
        frame = pd.read_csv(data_root / "crowds" / kept, dtype=str)
        if "worker" in frame:
            frame["worker"] = (1000 - frame["worker"].astype(int)).astype(str)
            frame.columns = ["item", "worker", "label"]
        else:
            frame.columns = ["item", "truth"]
        frame.to_csv(folder / kept, index=False)
        published[kept] = (f"{address}/{kept}", checksum)
    monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], published=published))


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.published])
def test_a_downloaded_crowd_has_the_same_bytes(
    data_root: Path, tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    publish(name, data_root, server, monkeypatch)
    root = tmp_path / "not" / "there" / "yet"
    assert fingerprint(load_crowd(name, root)) == fingerprint(load_crowd(name, data_root))
    for file in SOURCES[name].files:
        assert (root / "crowds" / file).read_bytes() == (data_root / "crowds" / file).read_bytes()
    assert len(list((root / "crowds").iterdir())) == 2
    (server[1] / SOURCES[name].files[0]).unlink()
    load_crowd(name, root)  # no second download


def test_a_download_with_wrong_content_leaves_no_file(
    data_root: Path, tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("bluebird", data_root, server, monkeypatch)
    answers = server[1] / "bluebird.csv"
    answers.write_text(answers.read_text().replace("107,", "106,"))
    with pytest.raises(DatasetMissingError, match=r"could not be downloaded \(the file from http.* has SHA-256"):
        load_crowd("bluebird", tmp_path)
    answers.write_text("<html>no such page</html>")
    with pytest.raises(DatasetMissingError, match="must have the columns item, worker, label"):
        load_crowd("bluebird", tmp_path)
    answers.unlink()
    with pytest.raises(DatasetMissingError, match=r"HTTP Error 404.*Put bluebird\.csv"):
        load_crowd("bluebird", tmp_path)
    assert not (tmp_path / "crowds").exists()


def test_workers_are_numbered_in_the_order_of_their_answers() -> None:
    assert convert_published("x.csv", b"item,worker,label\r\n5,w9,1\r\n5,w2,0\r\n6,w9,1\r\n") == (
        b"task,worker,label\n5,0,1\n5,1,0\n6,0,1\n"
    )
    assert convert_published("x_truth.csv", b"item,truth\n5,1\n") == b"task,label\n5,1\n"
