from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from crowdml import methods
from sweeps.grid.todo import make_plan
from tests.cells import cell

CELLS = [cell(seed=seed, method=method) for seed in range(3) for method in ("mv", "em")]


def known(**status: str) -> pd.DataFrame:
    rows = [(CELLS[int(place[1:])].id, value) for place, value in status.items()]
    return pd.DataFrame(rows, columns=["cell_id", "status"])


def test_what_is_left() -> None:
    rows = known(_0="ok", _1="failed", _5="ok")
    plan = make_plan(CELLS, rows)
    assert (plan.todo, plan.n_ok, plan.n_failed) == (CELLS[2:5], 2, 1)
    assert make_plan(CELLS, rows, "failed").todo == [CELLS[1]]
    assert make_plan(CELLS, rows, "all").todo == CELLS
    assert make_plan(CELLS, known()).todo == CELLS


def test_a_changed_version_of_a_method_invalidates_exactly_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = known(_0="ok", _1="ok", _2="ok", _3="ok", _4="ok", _5="ok")
    monkeypatch.setitem(methods.REGISTRY, "em", replace(methods.REGISTRY["em"], version=99))
    fresh = [replace(made) for made in CELLS]
    assert make_plan(fresh, rows).todo == [made for made in fresh if made.method == "em"]
