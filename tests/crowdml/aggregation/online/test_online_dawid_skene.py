from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.aggregation import DawidSkene
from crowdml.aggregation.online.online_dawid_skene import OnlineDawidSkene
from crowdml.labels import CrowdLabels
from tests.crowds import crowds, simulated


def chunks(frame: pd.DataFrame, n_chunks: int, seed: int = 0) -> list[pd.DataFrame]:
    rows = np.random.default_rng(seed).permutation(len(frame))
    return [frame.iloc[part] for part in np.array_split(rows, n_chunks)]


def learnt(frame: pd.DataFrame, class_names: Any, n_chunks: int = 20, **options: Any) -> OnlineDawidSkene:
    online = OnlineDawidSkene(class_names, **options)
    for chunk in chunks(frame, n_chunks):
        online.partial_fit(chunk)
    return online


def simulated_frame(n_items: int = 400) -> pd.DataFrame:
    frame = simulated(n_items)[0].to_frame()
    return frame.assign(task="t" + frame["task"].astype(str), worker="w" + frame["worker"].astype(str))


def naive_bound(online: OnlineDawidSkene, posterior: np.ndarray, confusion: np.ndarray, prior: np.ndarray) -> float:
    """Compute E[log p(labels, classes)] + entropy + log density of the pseudo-counts, annotation by annotation."""
    crowd, smoothing = online.crowd(), online.method.smoothing
    total = smoothing * np.log(np.maximum(confusion, 1e-12)).sum()
    for row in posterior:
        total += sum(q * (np.log(p) - np.log(q)) for q, p in zip(row, prior, strict=True) if q > 0)
    for item, worker, label in zip(crowd.item, crowd.worker, crowd.label, strict=True):
        total += posterior[item] @ np.log(np.maximum(confusion[worker][:, label], 1e-12))
    return float(total)


def test_one_item_by_hand() -> None:
    # The vote shares are 2/3 and 1/3.  With one pseudo-count per cell, a worker whose label has the share s gets
    # P(label | label) = (1 + s) / (2 + s) and P(label | other) = (1 + 1 - s) / (2 + 1 - s).
    frame = pd.DataFrame({"task": ["x"] * 3, "worker": ["a", "b", "c"], "label": ["no", "no", "yes"]})
    method = DawidSkene(smoothing=1)
    online = OnlineDawidSkene(["no", "yes"], method, n_passes=1, refresh=np.inf)
    online.partial_fit(frame)
    no = 2 / 3 * (5 / 8) ** 2 * (5 / 8)
    yes = 1 / 3 * (4 / 7) ** 2 * (4 / 7)
    assert online._posterior.values[0] == pytest.approx(np.array([no, yes]) / (no + yes))


def test_after_refining_it_is_dawid_skene() -> None:
    frame = simulated_frame()
    online = learnt(frame, range(4))
    online.refine()
    crowd, result = online.crowd(), online.result()
    batch = DawidSkene().fit(crowd)
    assert result.posterior == pytest.approx(batch.posterior, abs=1e-3)
    assert result.confusion == pytest.approx(batch.confusion, abs=1e-3)
    assert result.worker_quality == pytest.approx(batch.worker_quality, abs=1e-3)
    assert result.objective[0] == pytest.approx(batch.objective[-1], rel=1e-6)
    assert crowd.item_ids is not None
    assert (online.predict(list(crowd.item_ids)) == result.labels).all()
    assert online.predict_proba(["t7", "t3", "t7"]) == pytest.approx(
        result.posterior[[list(crowd.item_ids).index(name) for name in ("t7", "t3", "t7")]]
    )


@pytest.mark.parametrize("worker_model", ["confusion", "one_coin", "class_one_coin"])
def test_the_counts_are_those_of_the_posterior_and_the_bound_is_the_bound(worker_model: Any) -> None:
    frame = simulated_frame(60)
    online = learnt(frame, range(4), n_chunks=7, method=DawidSkene(worker_model, smoothing=0.1), refresh=np.inf)
    crowd, posterior = online.crowd(), online._posterior.values
    counts = np.zeros((crowd.n_workers, 4, 4))
    for item, worker, label in zip(crowd.item, crowd.worker, crowd.label, strict=True):
        counts[worker, :, label] += posterior[item]
    assert online._counts.values == pytest.approx(counts, abs=1e-9)
    assert online._class_counts == pytest.approx(posterior.sum(axis=0), abs=1e-9)
    confusion = online.method.confusion_from(counts + 0.1)
    assert online.bound() == pytest.approx(naive_bound(online, posterior, confusion, posterior.mean(axis=0)), rel=1e-9)


@settings(max_examples=25)
@given(crowds(), st.sampled_from([0.0, 0.01, 1.0]), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_bound_never_falls(crowd: CrowdLabels, smoothing: float, hard: bool, seed: int) -> None:
    method = DawidSkene(smoothing=smoothing, hard=hard, tol=0, max_iter=20)
    online = OnlineDawidSkene(range(crowd.n_classes), method, n_passes=1, refresh=np.inf)
    rng = np.random.default_rng(seed)
    for part in np.array_split(rng.permutation(crowd.n_annotations), 3):
        if len(part):
            mask = np.zeros(crowd.n_annotations, bool)
            mask[part] = True
            online.partial_fit(crowd.select(mask))
    bounds = [online.bound()]
    for _ in range(5):
        some = np.flatnonzero(rng.random(len(online._posterior)) < 0.5)
        if len(some):
            online._pass_over(online._grown.part(some))
            bounds.append(online.bound())
    online.refine()
    bounds.append(online.bound())
    assert np.diff(bounds).min() > -1e-8 * max(1, abs(bounds[0]))
    assert online.result().posterior.sum(axis=1) == pytest.approx(1)


@settings(max_examples=25)
@given(crowds(), st.integers(0, 2**32 - 1))
def test_the_order_within_a_call_does_not_matter(crowd: CrowdLabels, seed: int) -> None:
    frame = crowd.to_frame()
    results = [
        OnlineDawidSkene(range(crowd.n_classes)).partial_fit(rows)
        for rows in (frame, frame.sample(frac=1, random_state=seed))
    ]
    items = frame["task"].unique().tolist()
    assert results[1].predict_proba(items) == pytest.approx(results[0].predict_proba(items), abs=1e-6)


def test_new_workers_new_items_and_new_answers_to_old_items_are_added() -> None:
    truth = np.arange(300) % 2
    online = OnlineDawidSkene(["cat", "dog"])
    rng = np.random.default_rng(0)

    def answers(items: range, workers: list[str], accuracy: float) -> pd.DataFrame:
        rows = [(f"i{item}", worker, item) for item in items for worker in workers]
        right = rng.random(len(rows)) < accuracy
        label = [
            ["cat", "dog"][truth[item] if ok else 1 - truth[item]] for (*_, item), ok in zip(rows, right, strict=True)
        ]
        return pd.DataFrame({"task": [r[0] for r in rows], "worker": [r[1] for r in rows], "label": label})

    online.partial_fit(answers(range(200), ["a", "b", "c"], 0.8))
    names = [f"i{item}" for item in range(200)]
    right = np.array(["cat", "dog"])[truth[:200]]
    before = (online.predict(names) == right).mean()
    online.partial_fit(answers(range(100, 300), ["expert"], 0.99))
    assert (online.predict(names[100:]) == right[100:]).mean() > 0.95 > before
    assert online.result().worker_quality.argmax() == online._grown.workers.names.index("expert")
    assert online.n_annotations == 800
    with pytest.raises(ValueError, match="item 'i300' has no annotations"):
        online.predict(["i0", "i300"])


def test_gold_labels_hold_and_count_from_then_on() -> None:
    crowd, truth = simulated(200)
    online = OnlineDawidSkene(range(4)).partial_fit(crowd)
    before = online.predict(range(200))
    wrong = np.flatnonzero(before != truth)[:5]
    gold = np.full(200, -1)
    gold[wrong] = truth[wrong]
    one_more = CrowdLabels(np.array([0]), np.array([6]), np.array([0]), 200, 7, 4, gold=gold)
    online.partial_fit(one_more)
    assert (online.predict(wrong.tolist()) == truth[wrong]).all()
    assert online.predict_proba(wrong.tolist())[np.arange(5), truth[wrong]] == pytest.approx(1)
    online.refine()
    assert (online.predict(wrong.tolist()) == truth[wrong]).all()


def test_saved_and_loaded_it_goes_on_as_before(tmp_path: Path) -> None:
    frame = simulated_frame(150)
    first, second = frame.iloc[:500], frame.iloc[500:]
    online = OnlineDawidSkene(range(4), DawidSkene("one_coin", smoothing=0.2), n_passes=2, refresh=0.4, repeats="keep")
    online.partial_fit(first).save(tmp_path / "state.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]
    again = OnlineDawidSkene.load(tmp_path / "state.npz")
    items = frame["task"].unique().tolist()
    results = [each.partial_fit(second).predict_proba(items) for each in (online, again)]
    assert (results[0] == results[1]).all()
    assert online.bound() == again.bound()
    assert again.method == online.method
    # Whole numbers stay whole numbers, and strings stay strings.
    mixed = OnlineDawidSkene(["no", "yes"])
    mixed.partial_fit(pd.DataFrame({"task": [7, 8], "worker": ["7", "8"], "label": ["no", "yes"]}))
    mixed.save(tmp_path / "mixed.npz")
    crowd = OnlineDawidSkene.load(tmp_path / "mixed.npz").crowd()
    assert list(crowd.item_ids if crowd.item_ids is not None else []) == [7, 8]
    assert list(crowd.worker_ids if crowd.worker_ids is not None else []) == ["7", "8"]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    with pytest.raises(FileNotFoundError):
        OnlineDawidSkene.load(path)
    path.write_text("task,worker,label\n")
    with pytest.raises(ValueError, match="is not a saved online Dawid-Skene, or is damaged"):
        OnlineDawidSkene.load(path)
    online = learnt(simulated_frame(20), range(4))
    online.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="or is damaged"):
        OnlineDawidSkene.load(path)
    for header, message in [
        ({"kind": "another", "version": 1}, "not a saved online Dawid-Skene but 'another'"),
        (
            {"kind": "online Dawid-Skene", "version": 99},
            "version 99 of .*, this crowdml reads version 1",
        ),
    ]:
        np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8))
        with pytest.raises(ValueError, match=message):
            OnlineDawidSkene.load(path)


def test_a_refused_call_changes_nothing() -> None:
    frame = simulated_frame(30)
    online = OnlineDawidSkene(range(4)).partial_fit(frame.iloc[:100])
    bound, names = online.bound(), online._grown.items.names
    refused = [
        (frame.iloc[99:120], "worker w3 labelled item t16 more than once"),
        (frame.iloc[100:120].assign(label=9), r"labels \[.*9.*\] are not among class_names"),
        (frame.iloc[100:120].assign(task=1.5), "item ids must be strings or whole numbers, got float"),
        (CrowdLabels(np.array([0]), np.array([0]), np.array([4]), 1, 1, 5), r"classes \[4\] are not among"),
        (
            CrowdLabels(np.array([0]), np.array([0]), np.array([0]), 1, 1, 4, history=np.ones((1, 4, 4))),
            "cannot use worker histories",
        ),
    ]
    for rows, message in refused:
        with pytest.raises(ValueError, match=message):
            online.partial_fit(rows)
        assert (online.bound(), online.n_annotations, online._grown.items.names) == (bound, 100, names)


def test_repeated_answers_follow_the_option() -> None:
    row = pd.DataFrame({"task": ["x"], "worker": ["a"], "label": ["no"]})
    kept = OnlineDawidSkene(["no", "yes"], repeats="keep").partial_fit(pd.concat([row, row])).partial_fit(row)
    assert kept.n_annotations == 3
    first = OnlineDawidSkene(["no", "yes"], repeats="first").partial_fit(pd.concat([row, row.assign(label="yes")]))
    first.partial_fit(row.assign(label="yes"))
    first.partial_fit(pd.concat([row, row.assign(worker="b")]))
    assert first.crowd().label.tolist() == [0, 0]


@pytest.mark.parametrize("labels", [[0], [0, 0, 0], [2]])
def test_a_crowd_of_one_worker_or_one_class_gives_a_valid_result(labels: list[int]) -> None:
    frame = pd.DataFrame({"task": range(len(labels)), "worker": 0, "label": labels})
    online = OnlineDawidSkene(range(3), DawidSkene(smoothing=0)).partial_fit(frame)
    assert online.predict(range(len(labels))).tolist() == labels


def test_bad_options_are_refused() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"n_passes": 0}, "n_passes must be at least 1, got 0"),
        ({"refresh": 0}, "refresh must be positive, got 0"),
        ({"repeats": "last"}, "repeats must be"),
        ({"class_names": ["a"]}, "class_names must hold at least 2 classes, got 1"),
        ({"class_names": ["a", "a"]}, "class ids must differ"),
        ({"class_names": [0.5, 1.5]}, "class ids must be strings or whole numbers, got float"),
        ({"method": DawidSkene("homogeneous")}, '"homogeneous" cannot be learnt online'),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            OnlineDawidSkene(**{"class_names": ["a", "b"], **options})


@pytest.mark.parametrize(
    ("name", "agreement"),
    [("bluebird", 0.98), ("rte", 0.99), ("sp_amt", 0.99), ("product", 0.99), ("temp", 0.98), ("zc_us", 0.99)],
)
def test_twenty_chunks_give_nearly_the_answer_to_all_annotations(data_root: Path, name: str, agreement: float) -> None:
    frame = pd.read_csv(data_root / "crowds" / f"{name}.csv")
    online = learnt(frame, sorted(frame["label"].unique()), repeats="keep")
    crowd = online.crowd()
    assert crowd.item_ids is not None
    batch = DawidSkene(max_iter=500).fit(crowd)
    assert (online.predict_proba(list(crowd.item_ids)).argmax(axis=1) == batch.labels).mean() >= agreement
    online.refine()
    assert online.bound() >= batch.objective[-1] - 0.1
    assert (online.result().labels == batch.labels).mean() >= agreement
