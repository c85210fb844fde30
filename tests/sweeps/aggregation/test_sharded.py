"""Aggregation on Ray gives the result of one machine, for every layout of the files and if processes die."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from crowdml import methods
from crowdml.aggregation import Aggregation, DawidSkene
from crowdml.aggregation.inference.kernels import Expectation
from crowdml.files import Columns
from crowdml.labels import CrowdLabels
from crowdml.support.memory import TooLargeError
from crowdml.support.names import UnknownNameError
from sweeps.aggregation import row_groups
from sweeps.aggregation import sharded as aggregate
from sweeps.aggregation.crowd_shard import CrowdShard, LogTables, ShardedCrowd
from sweeps.aggregation.iteration_progress import IterationProgress
from sweeps.aggregation.shard_pool import FAN_IN, add
from sweeps.aggregation.sharded import ShardedResult, aggregate_sharded, sharded_methods
from sweeps.cluster import connect as ray_cluster
from sweeps.store.locations import LocationError, join, parquet_files
from tests.crowds import simulated

IBCC = "crowdml.aggregation.ibcc:Ibcc"
FLAG = "CROWDML_TEST_SHARD_FLAG"


class DiesOnce(DawidSkene):
    """Kills its process when it starts for the first time."""

    def start(self, crowd: CrowdLabels, prior: Any = None) -> Any:
        flag = Path(os.environ[FLAG])
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().start(crowd, prior)


class InlinePool:
    """The shards in this process: like ShardPool, but without Ray."""

    def __init__(self, crowd: ShardedCrowd, *, cpus: float) -> None:
        self._shards = [CrowdShard(crowd, number) for number in range(len(crowd.shards))]
        self._iteration, self._tables = 0, None

    def __enter__(self) -> InlinePool:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def first(self) -> Expectation:
        return add(*(shard.first() for shard in self._shards))

    def votes(self) -> Expectation:
        return add(*(shard.votes() for shard in self._shards))

    def step(self, tables: LogTables) -> Expectation:
        before, self._tables = self._tables, tables
        self._iteration += 1
        return add(*(shard.step(self._iteration, tables, before) for shard in self._shards))

    def n_items(self) -> int:
        return sum(shard.n_items() for shard in self._shards)

    def most_labels(self) -> int:
        return max(shard.most_labels() for shard in self._shards)

    def write(self, folder: str) -> None:
        for shard in self._shards:
            shard.write(self._iteration, self._tables, folder)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run everything in this process, as on a cluster of two CPUs."""

    @contextmanager
    def join(address: str | None) -> Iterator[ray_cluster.Cluster]:
        yield ray_cluster.Cluster(cpus=2, gpus=0, n_nodes=1, dashboard=None, own=True)

    monkeypatch.setattr(aggregate.ray_cluster, "join", join)
    monkeypatch.setattr(aggregate, "ShardPool", InlinePool)
    monkeypatch.setattr(aggregate, "run_tasks", lambda function, arguments: [function(*each) for each in arguments])


def crowd_frame() -> pd.DataFrame:
    frame = simulated(1500, n_classes=3)[0].to_frame()
    frame["task"] = "item" + frame["task"].astype(str).str.zfill(4)
    frame["worker"] = "w" + frame["worker"].astype(str)
    # Workers label some items only, and the last worker labels one item.
    rng = np.random.default_rng(1)
    kept = (rng.random(len(frame)) < 0.6) & (frame["worker"] != "w5")
    kept[np.flatnonzero(frame["worker"] == "w5")[0]] = True
    return frame[kept].reset_index(drop=True)


def write_parts(frame: pd.DataFrame, folder: Path, n_parts: int = 4) -> Path:
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), n_parts)):
        frame.iloc[rows].to_parquet(folder / f"part-{number}.parquet", index=False)
    return folder


def test_ids_of_64_bits_without_a_sign_are_kept(inline: None, tmp_path: Path) -> None:
    frame = crowd_frame()
    frame["task"] = frame["task"].str[4:].astype(np.uint64) + np.uint64(2**64 - 2000)
    folder, out = write_parts(frame, tmp_path / "in"), tmp_path / "out"
    aggregate_sharded(folder, "mv", out=out, console=quiet())
    table = pd.concat(pd.read_parquet(part) for part in sorted(out.glob("*.parquet"))).sort_values("task")
    result, crowd = on_one_machine(frame, "mv")
    assert crowd.item_ids is not None
    assert crowd.class_names is not None
    assert table["task"].dtype == np.uint64
    assert table["task"].tolist() == crowd.item_ids.tolist()
    assert table["label"].tolist() == crowd.class_names[result.labels].tolist()


def quiet() -> Console:
    return Console(file=open(os.devnull, "w"))


def on_one_machine(frame: pd.DataFrame, method: str, **options: Any) -> tuple[Aggregation, CrowdLabels]:
    crowd = CrowdLabels.from_frame(frame)
    return methods.resolve(method, options, labels_only=True).source.fit(crowd), crowd


def check_same(result: ShardedResult, out: Path, one: Aggregation, crowd: CrowdLabels) -> None:
    assert crowd.item_ids is not None
    assert crowd.class_names is not None
    table = pd.read_parquet(out).set_index("task").loc[crowd.item_ids]
    assert len(table) == result.n_items == crowd.n_items
    chances = table[[f"p_{name}" for name in crowd.class_names]].to_numpy()
    assert chances == pytest.approx(one.posterior, abs=1e-6)
    assert (table["label"].to_numpy() == crowd.class_names[one.labels]).all()
    assert table["doubt"].to_numpy() == pytest.approx(one.doubt, abs=1e-6)
    assert result.confusion == pytest.approx(one.confusion, abs=1e-6)
    assert result.class_prior == pytest.approx(one.class_prior, abs=1e-6)
    workers = result.workers
    assert crowd.worker_ids is not None
    assert list(workers["worker"]) == list(crowd.worker_ids)
    assert workers["n_labels"].to_numpy() == pytest.approx(crowd.labels_per_worker)
    assert workers["quality"].to_numpy() == pytest.approx(one.worker_quality, abs=1e-6)
    assert workers["quality_se"].to_numpy() == pytest.approx(one.worker_quality_se, abs=1e-6)
    if one.worker_quality_interval is not None:
        interval = workers[["quality_low", "quality_high"]].to_numpy()
        assert interval == pytest.approx(one.worker_quality_interval, abs=1e-6)
    assert (result.n_iter, result.converged) == (one.n_iter, one.converged)
    assert result.objective == pytest.approx(one.objective, rel=1e-9)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("em", {}),
        ("dawid_skene", {"smoothing": 0.1, "diagonal": 1.0, "class_prior": "uniform", "init": "majority"}),
        ("em_hard", {}),
        ("one_coin", {}),
        ("homogeneous", {"max_iter": 5}),
        ("mv", {}),
        (IBCC, {"diagonal": 2.0}),
    ],
)
def test_the_result_equals_the_result_on_one_machine(
    inline, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    frame = crowd_frame()
    mixed = write_parts(frame.sample(frac=1, random_state=0), tmp_path / "in")
    out, workers = tmp_path / "out", tmp_path / "workers.parquet"
    result = aggregate_sharded(
        mixed, method, out=out, workers_out=workers, options=options, n_shards=3, console=quiet()
    )
    assert result.split_by_item
    assert result.n_shards == len(list(out.iterdir())) == 3
    check_same(result, out, *on_one_machine(frame, method, **options))
    pd.testing.assert_frame_equal(pd.read_parquet(workers), result.workers)


def test_files_sorted_by_item_are_not_rewritten(inline, tmp_path: Path) -> None:
    frame = crowd_frame()
    parts = write_parts(frame, tmp_path / "in", n_parts=1)
    table = pq.read_table(parts)
    pq.write_table(table, parts / "part-0.parquet", row_group_size=len(frame) // 6 + 1)
    # Move the borders of the row groups to the borders of the items.
    starts = np.flatnonzero(frame["task"].ne(frame["task"].shift()))
    with pq.ParquetWriter(parts / "part-0.parquet", table.schema) as writer:
        for items in np.array_split(starts, 6):
            end = np.append(starts, len(frame))[np.searchsorted(starts, items[-1]) + 1]
            writer.write_table(table.slice(items[0], end - items[0]))
    out = tmp_path / "out"
    result = aggregate_sharded(parts, "em", out=out, n_shards=2, console=quiet())
    assert not result.split_by_item
    check_same(result, out, *on_one_machine(frame, "em"))


def test_the_result_on_ray_is_right_if_processes_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = crowd_frame()
    mixed = write_parts(frame.sample(frac=1, random_state=0), tmp_path / "in")
    killed: list[int] = []
    count = IterationProgress.add

    def count_and_kill(self: IterationProgress, moved: float) -> None:
        count(self, moved)
        if len(self._changes) in (1, 4):
            killed.append(shard_processes()[-1])
            os.kill(killed[-1], signal.SIGKILL)

    monkeypatch.setattr(IterationProgress, "add", count_and_kill)
    monkeypatch.setenv(FLAG, str(tmp_path / "died"))
    out = tmp_path / "out"
    result = aggregate_sharded(mixed, f"{__name__}:DiesOnce", out=out, n_shards=2, address="local", console=quiet())
    assert (tmp_path / "died").exists()
    assert len(set(killed)) == 2
    check_same(result, out, *on_one_machine(frame, "em"))


@pytest.mark.slow
def test_many_shards_on_ray_add_up_along_a_tree_of_tasks(tmp_path: Path) -> None:
    frame = crowd_frame()
    mixed = write_parts(frame.sample(frac=1, random_state=0), tmp_path / "in")
    out = tmp_path / "out"
    result = aggregate_sharded(mixed, "em", out=out, n_shards=FAN_IN + 1, address="local", console=quiet())
    assert result.n_shards == FAN_IN + 1
    check_same(result, out, *on_one_machine(frame, "em"))

    # An error in the data has the same message as without Ray, although another process raises it.
    repeated = write_parts(pd.concat([frame, frame.head(1)]), tmp_path / "repeated")
    with pytest.raises(ValueError, match=r"^worker w0 labelled item item0000 more than once"):
        aggregate_sharded(repeated, n_shards=1, address="local", console=quiet())


def test_malformed_input_is_an_error_that_names_the_place(inline, tmp_path: Path) -> None:
    frame = crowd_frame().head(60)
    repeated = write_parts(pd.concat([frame, frame.head(1)]), tmp_path / "repeated")
    with pytest.raises(ValueError, match="worker w0 labelled item item0000 more than once"):
        aggregate_sharded(repeated, n_shards=2, console=quiet())
    kept = aggregate_sharded(repeated, n_shards=2, repeats="keep", console=quiet())
    assert kept.n_annotations == 61
    empty = write_parts(frame.assign(worker=frame["worker"].where(frame.index != 50)), tmp_path / "empty")
    with pytest.raises(LocationError, match=r"part-3.parquet: column 'worker' has 1 empty values"):
        aggregate_sharded(empty, n_shards=2, console=quiet())
    with pytest.raises(ValueError, match=r"labels \[2\] are not among class_names \[0, 1\]"):
        aggregate_sharded(write_parts(frame, tmp_path / "fine"), class_names=[0, 1], console=quiet())
    more = aggregate_sharded(tmp_path / "fine", class_names=[2, 1, 0, 7], console=quiet())
    assert list(more.class_names) == [2, 1, 0, 7]


def test_bad_arguments_are_errors_before_ray_starts(tmp_path: Path) -> None:
    parts = write_parts(crowd_frame().head(20), tmp_path / "in")
    assert {"mv", "em", "em_hard", "one_coin"} <= set(sharded_methods())
    cases = [
        ({"method": "minimax_entropy"}, "cannot be sharded; use one of mv, em"),
        ({"method": "emm"}, "did you mean em"),
        ({"options": {"smoothing": -1}}, "smoothing must not be negative, got -1"),
        ({"options": {"device": "cuda"}}, 'device must be "cpu" on Ray'),
        ({"n_shards": 0}, "n_shards must be at least 1, got 0"),
        ({"columns": Columns(task="item")}, "column 'item' is missing; the file has task, worker, label"),
        ({"out": parts}, "is not empty; give a new folder"),
        ({"workers_out": tmp_path / "workers.xls"}, "the ending must be"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            aggregate_sharded(parts, **arguments)
    with pytest.raises(UnknownNameError):
        aggregate_sharded(parts, "glad2")
    with pytest.raises(LocationError, match=r"does not exist, or holds no .parquet files"):
        aggregate_sharded(tmp_path / "nothing")
    crowd_frame().head(20).assign(task=1).to_parquet(parts / "z.parquet")
    with pytest.raises(LocationError, match="column 'task' holds int64, but large_string in"):
        aggregate_sharded(parts)


def test_shards_take_whole_row_groups_if_row_groups_share_no_item() -> None:
    def group(number: int, n_rows: int, low: Any, high: Any) -> row_groups.RowGroup:
        return row_groups.RowGroup("a", number, n_rows, low, high)

    apart = [group(0, 10, 5, 9), group(1, 10, 0, 4), group(2, 10, 10, 14), group(3, 10, 15, 15)]
    dealt = row_groups.assign_whole(apart, 2)
    assert dealt is not None
    assert [[part.number for part in shard] for shard in dealt] == [[0, 1], [2, 3]]
    # Item 9 is in two groups, which stay together; that makes the shards too uneven for three, not for two.
    touching = [group(0, 10, 0, 9), group(1, 10, 9, 12), group(2, 10, 13, 20)]
    assert row_groups.assign_whole(touching, 3) is None
    assert row_groups.assign_whole(touching, 2) == [touching[:2], touching[2:]]
    assert row_groups.assign_whole([*touching, group(3, 5, None, None)], 2) is None
    assert row_groups.assign_whole(touching, 1) == [touching]


@pytest.mark.parametrize("of", [str, int])
def test_splitting_by_item_keeps_items_together_and_rows_in_order(tmp_path: Path, of: type) -> None:
    rng = np.random.default_rng(0)
    items = [of(number) for number in rng.integers(0, 40, 300)]
    frame = pd.DataFrame({"task": items, "worker": np.arange(300), "label": rng.integers(0, 2, 300)})
    frame["label"] = frame["label"].map(["no", "yes"].__getitem__).astype("category")
    columns = Columns()
    groups = row_groups.list_row_groups(parquet_files([write_parts(frame, tmp_path / "in")]), columns)
    (tmp_path / "shards").mkdir()
    dealt = [
        row_groups.split_by_item(run, columns, 3, str(tmp_path / "shards"), number)
        for number, run in enumerate((groups[:2], groups[2:]))
    ]
    names = row_groups.merge_names([each for each, _ in dealt])
    assert (names.workers.to_pylist(), names.labels.to_pylist()) == (list(range(300)), ["no", "yes"])
    shards = [
        pa.concat_tables([row_groups.read(group, columns) for group in of_shard])
        for of_shard in zip(*(g for _, g in dealt), strict=True)
    ]
    seen = [set(table["task"].to_pylist()) for table in shards]
    assert sum(map(len, seen)) == len(set(items))
    for table in shards:
        assert np.all(np.diff(table["worker"].to_numpy()) > 0)


def test_a_shard_returns_the_same_sums_if_a_call_is_repeated_or_its_process_is_replaced(tmp_path: Path) -> None:
    frame = crowd_frame().head(200)
    columns = Columns()
    groups = row_groups.list_row_groups(parquet_files([write_parts(frame, tmp_path / "in")]), columns)
    names = row_groups.distinct_names(groups, columns)
    method = DawidSkene()
    crowd = ShardedCrowd([groups], columns, names.workers, names.labels, "error", method, method)
    shard = CrowdShard(crowd, 0)
    first = shard.first()
    one, sums_one = step(method, shard, 1, first, None)
    two, sums_two = step(method, shard, 2, sums_one, one)
    # The call is repeated on the same process, and on a process that replaces it.
    for other in (shard, CrowdShard(crowd, 0)):
        again = other.step(2, two, one)
        assert again.moved == pytest.approx(sums_two.moved, abs=1e-15)
        assert again.counts == pytest.approx(sums_two.counts, abs=1e-12)
        assert other.step(1, one, None).moved == pytest.approx(sums_one.moved, abs=1e-15)
    whole = add(first, sums_one)
    assert whole.counts == pytest.approx(first.counts + sums_one.counts)
    assert whole.moved == np.inf


def step(em: Any, shard: CrowdShard, iteration: int, sums: Any, before: LogTables | None) -> tuple[LogTables, Any]:
    tables = em.m_step(sums.counts, sums.class_counts)
    logs = LogTables(tables.log_confusion, tables.log_prior)
    return logs, shard.step(iteration, logs, before)


def test_the_progress_line_counts_iterations_and_estimates_the_time_left(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        progress = IterationProgress(Console(file=file), 50, 1e-4)
        with progress:
            progress.phase("reading 10 annotations")
            assert progress.seconds_left() is None
            for change in (1.0, 0.1, 0.01):
                progress.add(change)
            assert "iteration 3 · largest change 1.0e-02" in progress.line()
            # The change falls to a tenth per iteration: three iterations are done, two are left.
            progress._first_iteration -= 30
            assert progress.seconds_left() == pytest.approx(20, abs=0.5)
            progress.add(1e-5)
            assert "left" not in progress.line()
    assert "reading 10 annotations" in (tmp_path / "log").read_text()


def test_locations_in_an_object_store_keep_their_query() -> None:
    assert join("s3://bucket/folder/?region=eu-west-1", "a.parquet") == "s3://bucket/folder/a.parquet?region=eu-west-1"
    assert join("file:///tmp/folder", "a.parquet") == "/tmp/folder/a.parquet"


def shard_processes() -> list[int]:
    """The shards' processes that descend from this one."""
    parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    return sorted(pid for pid in parents if _is_shard(pid) and os.getpid() in _ancestors(pid, parents))


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _is_shard(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::ShardProcess")
    except OSError:
        return False


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while pid in parents:
        pid = parents[pid]
        found.add(pid)
    return found


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("method", ["mv", "em", "em_hard", "ibcc"])
def test_single_labels_stay_and_ties_can_have_no_label(tmp_path: Path, method: str) -> None:
    single = pd.DataFrame({"task": range(40), "worker": "a", "label": ["x"] * 35 + ["y"] * 5})
    tied = pd.DataFrame({"task": [1, 1, 2, 2], "worker": list("abab"), "label": list("xyyy")})
    for name, frame, options, expected in (
        ("single", single, {}, single["label"].tolist()),
        ("tied", tied, {"ties": "abstain"}, [None, "y"]),
    ):
        if name == "tied" and method != "mv":
            continue
        frame.to_parquet(tmp_path / f"{name}.parquet")
        aggregate_sharded(tmp_path / f"{name}.parquet", method, out=tmp_path / f"{name}-out", options=options)
        table = pd.read_parquet(tmp_path / f"{name}-out").sort_values("task")
        assert table["label"].astype(object).where(table["label"].notna(), None).tolist() == expected


def test_tables_that_cannot_fit_are_refused() -> None:
    with pytest.raises(TooLargeError, match="1,000,000 workers x 1,000 x 1,000 classes"):
        aggregate.check_tables(1_000_000, 1000)
