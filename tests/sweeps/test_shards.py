from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crowdml.learning.recipe import Recipe
from sweeps.shards import MIN_SECONDS, pack
from tests.cells import cell

RECIPE = Recipe(epochs=1)


@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=60), st.integers(1, 8))
def test_every_cell_is_in_one_shard_and_no_shard_is_too_long(costs: list[float], n_slots: int) -> None:
    cells = [cell(seed=seed) for seed in range(len(costs))]
    seconds = dict(zip((made.id for made in cells), costs, strict=True))
    shards = pack(cells, lambda made: seconds[made.id], n_slots)
    packed = [made.id for shard in shards for made, _ in shard.cells]
    assert sorted(packed) == sorted(seconds)
    limit = max(sum(costs) / (8 * n_slots), MIN_SECONDS)
    assert all(shard.seconds <= limit + 1e-6 or len(shard.cells) == 1 for shard in shards)
    assert [shard.seconds for shard in shards] == sorted((shard.seconds for shard in shards), reverse=True)


def test_shards_share_data_set_and_network() -> None:
    cells = [
        cell(), cell(seed=1), cell(dataset="mnist"), cell(n_train=100), cell(network="cnn_digits", recipe=RECIPE),
    ]  # fmt: skip
    shards = pack(cells, lambda made: 0.1, 1)
    assert len(shards) == 4
    for shard in shards:
        assert len({(made.dataset, made.n_train, made.network) for made, _ in shard.cells}) == 1
        assert shard.trains == (shard.cells[0][0].network is not None)


def test_many_small_cells_make_few_shards_and_long_ones_stand_alone() -> None:
    small = [cell(seed=seed) for seed in range(2000)]
    assert len(pack(small, lambda made: 0.02, 2)) <= 16
    assert len(pack(small[:10], lambda made: 3600, 2)) == 10
