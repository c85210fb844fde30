"""Which attempt of a cell counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sweeps.store.attempts import best_attempts, distinct
from sweeps.store.schema import TABLES

RANK = pa.schema([TABLES["cells"].field(name) for name in ("cell_id", "attempt", "status", "finished_at")])
START = datetime(2026, 1, 1, tzinfo=UTC)

# Few moments, so that ties and clocks that jump back are common.
rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["ok", "failed"]), st.integers(-2, 2)), min_size=1, max_size=12
)


def table(attempts: list[tuple[str, str, int]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"cell_id": cell_id, "attempt": f"{n:02}", "status": status, "finished_at": START + timedelta(hours=hours)}
            for n, (cell_id, status, hours) in enumerate(attempts)
        ],
        schema=RANK,
    )


@given(attempts=rows, random=st.randoms(use_true_random=False))
def test_every_cell_has_one_row_and_an_ok_one_wherever_there_is_one(
    attempts: list[tuple[str, str, int]], random: object
) -> None:
    every = table(attempts)
    best = best_attempts(every).to_pylist()
    assert [row["cell_id"] for row in best] == sorted({cell_id for cell_id, _, _ in attempts})
    for row in best:
        of_cell = [given for given in attempts if given[0] == row["cell_id"]]
        assert (row["status"] == "ok") == any(status == "ok" for _, status, _ in of_cell)
        alike = [hours for _, status, hours in of_cell if status == row["status"]]
        assert row["finished_at"] == START + timedelta(hours=max(alike))


@given(attempts=rows, order=st.permutations(range(24)))
def test_neither_the_order_nor_rows_met_twice_matter(attempts: list[tuple[str, str, int]], order: list[int]) -> None:
    every = table(attempts)
    twice = pa.concat_tables([every, every])
    shuffled = twice.take([place for place in order if place < len(twice)])
    assert distinct(twice).equals(every)
    if len(shuffled) == len(twice):
        assert best_attempts(shuffled).equals(best_attempts(every))
