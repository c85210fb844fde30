from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crowdml.learning.recipe import Recipe
from sweeps.running.shards import MAX_SECONDS, MIN_SECONDS, SHARDS_PER_SLOT, Shard, pack
from tests.cells import cell

RECIPE = Recipe(epochs=1)
TRAINS: dict[str, Any] = {"network": "cnn_digits", "recipe": RECIPE}


def ids(shards: list[Shard]) -> list[str]:
    return [made.id for shard in shards for made, _ in shard.cells]


@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=60), st.integers(1, 8), st.data())
def test_every_cell_is_in_one_shard_and_no_shard_is_too_long(costs: list[float], n_slots: int, data: Any) -> None:
    cells = [
        cell(seed=seed % 7, method=("mv", "em", "wawa")[seed % 3], n_workers=1 + seed) for seed in range(len(costs))
    ]
    ranks = data.draw(st.lists(st.integers(0, 2), min_size=len(costs), max_size=len(costs)))
    seconds = dict(zip((made.id for made in cells), costs, strict=True))
    shards = pack(cells, lambda made: seconds[made.id], n_slots, ranks=ranks)
    assert sorted(ids(shards)) == sorted(seconds)
    limit = max(sum(costs) / (SHARDS_PER_SLOT * n_slots), MIN_SECONDS)
    assert all(shard.seconds <= limit + 1e-6 or len(shard.cells) == 1 for shard in shards)
    order = [(shard.rank, -shard.seconds) for shard in shards]
    assert order == sorted(order)
    rank_of = dict(zip((made.id for made in cells), ranks, strict=True))
    assert all(rank_of[made.id] == shard.rank for shard in shards for made, _ in shard.cells)


def test_shards_share_data_set_and_network() -> None:
    cells = [cell(), cell(seed=1), cell(dataset="mnist"), cell(n_train=100), cell(**TRAINS)]
    shards = pack(cells, lambda made: 0.01, 1)
    assert len(shards) == 4
    for shard in shards:
        assert len({(made.dataset, made.n_train, made.network) for made, _ in shard.cells}) == 1
        assert shard.trains == (shard.cells[0][0].network is not None)


def test_the_cells_of_a_crowd_stay_together() -> None:
    """Even where the grid has them far apart, as two blocks of a preset do."""
    cells = [cell(method=method, seed=seed) for method in ("mv", "em", "wawa", "glad") for seed in range(50)]
    shards = pack(cells, lambda made: 0.1, 2)
    assert len(shards) > 4
    for shard in shards:
        seeds = [made.seed for made, _ in shard.cells]
        assert sum(first != second for first, second in pairwise(seeds)) == len(set(seeds)) - 1
        assert all(seeds.count(seed) == 4 for seed in seeds)


def test_a_crowd_that_is_too_long_is_cut() -> None:
    cells = [cell(method=method) for method in ("mv", "em", "wawa", "glad")]
    assert [len(shard.cells) for shard in pack(cells, lambda made: 500.0, 1)] == [1, 1, 1, 1]
    assert [len(shard.cells) for shard in pack(cells, lambda made: 1000.0, 1, longest=MAX_SECONDS)] == [1, 1, 1, 1]


def test_many_small_cells_make_few_shards_that_get_shorter() -> None:
    small = [cell(seed=seed) for seed in range(5000)]
    shards = pack(small, lambda made: 0.02, 2)
    assert len(shards) < 40
    assert shards[0].seconds > 10 > 2 > shards[-1].seconds
    assert len(pack(small[:10], lambda made: 3600, 2)) == 10
    assert len(pack(small[:10], lambda made: 0.01, 2, longest=0)) == 10


def test_runs_with_other_seeds_start_with_other_cells() -> None:
    cells = [cell(method=method, seed=seed) for method in ("mv", "em") for seed in range(200)]
    ranks = [made.seed % 2 for made in cells]
    shards = {seed: pack(cells, lambda made: 1.0, 2, ranks=ranks, seed=seed) for seed in ("a", "b")}
    first, second = ({made.id for made, _ in shards[seed][0].cells} for seed in ("a", "b"))
    assert len(first & second) < 0.7 * len(first)
    for of_run in shards.values():
        assert sorted(ids(of_run)) == sorted(made.id for made in cells)
        assert [shard.rank for shard in of_run] == sorted(shard.rank for shard in of_run)
        # The long shards still come first, but for small differences.
        of_rank = [shard.seconds for shard in of_run if shard.rank == 0]
        assert all(later < 2.1 * earlier for earlier, later in pairwise(of_rank))
        assert of_rank[0] > 2 * of_rank[-1]
    assert ids(shards["a"]) == ids(pack(cells, lambda made: 1.0, 2, ranks=ranks, seed="a"))


def test_cells_of_about_equal_length_start_in_another_order_in_each_run() -> None:
    """Otherwise two runs would compute each of these cells at the same time."""
    cells = [cell(method=method, n_workers=n, **TRAINS) for method in ("mv", "em", "wawa") for n in range(1, 11)]
    seconds = {made.id: 1000.0 + number for number, made in enumerate(cells)}
    first, second = (ids(pack(cells, lambda made: seconds[made.id], 2, seed=seed)) for seed in ("a", "b"))
    assert sorted(first) == sorted(second)
    assert sum(one == other for one, other in zip(first, second, strict=True)) < 5


def test_cells_on_processors_run_beside_those_on_gpus() -> None:
    cells = [cell(seed=seed, **TRAINS) for seed in range(20)] + [cell(seed=seed) for seed in range(10)]
    mixed = pack(cells, lambda made: 300.0 if made.network else 100.0, 2, mix=True)
    kinds = [shard.trains for shard in mixed]
    half = len(kinds) // 2
    assert sum(kinds) > sum(kinds[:half]) > 0
    assert abs(sum(kinds[:half]) - sum(kinds) / 2) <= 1
    for kind in (True, False):
        seconds = [shard.seconds for shard in mixed if shard.trains == kind]
        assert seconds == sorted(seconds, reverse=True)
    assert sorted(ids(mixed)) == sorted(made.id for made in cells)
