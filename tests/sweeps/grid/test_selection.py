from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.experiment.cell import COLUMNS, Cell
from crowdml.experiment.columns import columns_of
from crowdml.experiment.crowd_types import Real
from crowdml.learning.recipe import Recipe
from sweeps.grid.expressions import SelectionError
from sweeps.grid.grids import Block
from sweeps.grid.selection import order, select
from sweeps.store.schema import AXES
from tests.cells import cell


def noise_rate(c: Cell) -> float | None:
    return COLUMNS["noise_rate"].value(c)


def is_real(c: Cell) -> bool:
    return isinstance(c.crowd, Real)


REAL_CROWD = {"dataset": "labelme", "pattern": "real", "noise_rate": None, "n_workers": None}
CELLS = [
    *(
        cell(n_workers=n, method=method, noise_rate=rate, seed=seed)
        for n in (3, 5)
        for method in ("mv", "em")
        for rate in (0.2, 0.6)
        for seed in (0, 1)
    ),
    cell(**REAL_CROWD),
    cell(**REAL_CROWD, n_train=None, network="mlp128", recipe=Recipe(epochs=1), method="crowdlayer"),
    cell(network="cnn_digits", recipe=Recipe(epochs=2), n_train=100, method_options={}),
    cell(method="em", method_options={"max_iter": 3}),
]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ('method == "em" and n_workers > 3', lambda c: c.method == "em" and (c.crowd.n_workers or 0) > 3),
        ("method=='em'", lambda c: c.method == "em"),
        ("3 < n_workers <= 5", lambda c: c.crowd.n_workers == 5),
        ('method in ["em", "crowdlayer"]', lambda c: c.method in ("em", "crowdlayer")),
        ('method not in ("em",)', lambda c: c.method != "em"),
        ('method == ["em", "crowdlayer"]', lambda c: c.method in ("em", "crowdlayer")),
        ("noise_rate == None", lambda c: noise_rate(c) is None),
        ("noise_rate != None", lambda c: noise_rate(c) is not None),
        ("noise_rate in [None, 0.2]", lambda c: noise_rate(c) in (None, 0.2)),
        ("noise_rate != 0.2", lambda c: noise_rate(c) != 0.2),
        ("not noise_rate < 0.5", lambda c: (noise_rate(c) or 1.0) >= 0.5),
        ('network != "mlp128"', lambda c: c.network != "mlp128"),
        ('network not in ["mlp128"]', lambda c: c.network != "mlp128"),
        ("recipe == None or n_train == 100", lambda c: c.training is None or c.n_train == 100),
        ("seed >= -1", lambda c: True),
        ("seed == -1", lambda c: False),
        (
            '(seed == 1) & (method == "em") | ~(pattern == "uniform")',
            lambda c: is_em_of_seed_1(c) or is_real(c),
        ),
        ("noise_rate == missing_rate", lambda c: False),
        ("n_train == n_workers", is_real),
        ("""method_options == '{"max_iter": 3}'""", lambda c: dict(c.method_options) == {"max_iter": 3}),
        ('seed == 0\n  and method == "mv"\n', lambda c: c.seed == 0 and c.method == "mv"),
        ("seed == 10", lambda c: False),
    ],
)
def test_the_cells_of_an_expression(expression: str, chosen: Callable[[Cell], bool]) -> None:
    assert select(CELLS, expression) == [c for c in CELLS if chosen(c)]


def is_em_of_seed_1(c: Cell) -> bool:
    return c.seed == 1 and c.method == "em"


def test_columns_are_those_of_the_results_table() -> None:
    for c in CELLS:
        for axis, value in columns_of(c).items():
            assert c in select(CELLS, f"{axis} == {value!r}")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "cannot read ''"),
        ("method ==", "cannot read 'method ==' at column"),
        ("method = 'em'", "cannot read"),
        ("metod == 'em'", "'metod' at column 1: unknown axis 'metod'; did you mean method"),
        ("seed == 1 and metod == 'em'", "'metod' at column 15"),
        ("method", "'method' at column 1 is not a comparison; write axis == value; the axes are dataset, n_train,"),
        ("True", "is not a comparison"),
        ("1 < 2", "compares no axis"),
        ("n_workers == '3'", "compares numbers with texts"),
        ("method > 3", "compares numbers with texts"),
        ("method in ['em', 3]", "compares numbers with texts"),
        ("method in 'em'", "needs a list on its right"),
        ("'em' in method", "needs a list on its right"),
        ("noise_rate > None", "orders None, which has no order"),
        ("seed < [1, 2]", "compares with a list"),
        ("seed is 3", "write == None or != None"),
        ("seed == True", "'True' at column 9 is not allowed"),
        ("seed == -True", "is not allowed"),
        ("seed == 1 + 1", "'1 + 1' at column 9 is not allowed"),
        ("seed == 1" + "0" * 400, "is not allowed"),
        ("method in [dataset]", "may hold only numbers, texts and None"),
        ("seed == 1 & n_workers == 3", "'1 & n_workers' at column 9 is not allowed"),
        ("-seed == 1", "is not allowed"),
        ("not " * 60 + "seed == 1", "nested more than 50 deep"),
        ("(" * 500 + "seed == 1" + ")" * 500, "cannot read"),
        ("not " * 100_000 + "seed == 1", "cannot read|nested"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_place(expression: str, message: str) -> None:
    with pytest.raises(SelectionError, match=message.replace("(", r"\(").replace("+", r"\+")):
        select(CELLS, expression)


HOSTILE = [
    "__import__('os').system('touch /tmp/owned')",
    "method.__class__ == 'x'",
    "method.str.contains('m')",
    "@pd.io.common.os.system('x')",
    "seed == @seed",
    "(lambda: 1)() == seed",
    "seed == [x for x in (1, 2)]",
    "seed in {1: 2}",
    "seed in {1, 2}",
    "method == f'{seed}'",
    "method == b'em'",
    "seed == 1j",
    "seed[0] == 1",
    "seed == (y := 1)",
    "seed if seed else seed",
    "seed == ...",
    "seed in [*dataset]",
    "`seed` == 1",
    "seed == 2 ** 9999999",
    "method == 'a' * 999999999",
    "await seed",
    "seed == 1; import os",
    "import os",
    "seed == 1\nmethod == 'em'",
    "index == 1",
    "seed == 1 and print(1) == 2",
    "a\x00b",
]


@pytest.mark.parametrize("expression", HOSTILE)
def test_nothing_but_comparisons_can_be_written(expression: str) -> None:
    with pytest.raises(SelectionError):
        select(CELLS, expression)


_VALUES: dict[str, list[Any]] = {
    "method": ["mv", "em", "crowdlayer", "a 'quoted' name"],
    "network": ["mlp128", None],
    "n_workers": [3, 5, 4.5, -1, None],
    "noise_rate": [0.2, 0.6, None],
    "seed": [0, 1],
}


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    axis = draw(st.sampled_from(sorted(_VALUES)))
    value = st.sampled_from(_VALUES[axis])
    sign = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in"]))
    if "in" in sign:
        return f"{axis} {sign} {draw(st.lists(value, max_size=3))!r}"
    if sign[0] in "<>":
        value = value.filter(lambda v: v is not None)
    return f"{axis} {sign} {draw(value)!r}"


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    both = st.tuples(parts, st.sampled_from(["and", "or"]), parts).map(lambda three: f"({' '.join(three)})")
    return st.one_of(both, parts.map(lambda part: f"not ({part})"))


EXPRESSIONS = st.recursive(comparisons(), joined, max_leaves=5)


class Missing:
    """A value that is not there, in naive Python: equal to None, and in no order."""

    def __eq__(self, other: object) -> bool:
        return other is None

    def __hash__(self) -> int:
        return 0

    def __lt__(self, other: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__


@given(EXPRESSIONS)
def test_a_selection_is_what_python_says_cell_by_cell(expression: str) -> None:
    expected = []
    for c in CELLS:
        row = {name: Missing() if value is None else value for name, value in columns_of(c).items()}
        if eval(expression, {}, row):
            expected.append(c)
    assert select(CELLS, expression) == expected


@given(EXPRESSIONS.filter(lambda text: "None" not in text and "[]" not in text))
def test_a_selection_is_what_pandas_says(expression: str) -> None:
    frame = pd.DataFrame([columns_of(c) for c in CELLS])
    assert select(CELLS, expression) == [CELLS[row] for row in frame.query(expression, engine="python").index]


@given(st.text(alphabet="seedmthono_rwk ()[]{}=<>!.,'\"@`~&|*-+0123:;\n\\", max_size=40))
def test_any_text_selects_or_is_refused(text: str) -> None:
    try:
        chosen = select(CELLS, text)
    except SelectionError:
        return
    assert set(chosen) <= set(CELLS)


def test_ten_thousand_cells_take_no_time() -> None:
    cells = Block(
        datasets=("digits",), workers=tuple(range(1, 41)), methods=("mv",), seeds=tuple(range(84)), train=False
    ).cells()
    assert len(cells) > 10_000
    start = time.process_time()
    chosen = select(cells, 'pattern == "flip" and 3 < n_workers <= 5 and method_options == "{}"')
    assert time.process_time() - start < 1
    assert len(chosen) == 2 * 84


def test_no_cells() -> None:
    assert select([], "seed == 1") == []
    assert order([], ["seed"]) == []


@pytest.mark.parametrize(
    ("priority", "ranks"),
    [
        ([], [0, 0, 0, 0, 0]),
        (["seed"], [1, 0, 0, 2, 0]),
        (["-n_workers"], [1, 1, 0, 1, 2]),
        (["n_workers"], [0, 0, 1, 0, 2]),
        (["method=em,glad"], [2, 0, 1, 2, 2]),
        (["method=em", "-n_workers"], [2, 0, 1, 2, 3]),
        (["seed", "method=em"], [2, 0, 1, 3, 1]),
        (["n_workers=9, 3"], [1, 1, 0, 1, 2]),
    ],
)
def test_ranks(priority: list[str], ranks: list[int]) -> None:
    cells = [
        cell(seed=3),
        cell(method="em"),
        cell(method="glad", n_workers=9),
        cell(seed=5),
        cell(**REAL_CROWD),
    ]
    assert order(cells, priority) == ranks


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ("sed", "priority 'sed': unknown axis 'sed'; did you mean seed"),
        ("-method=em", "write axis, -axis or axis=value,value"),
        ("method=", "write axis, -axis or axis=value,value"),
        ("n_workers=three", "n_workers must be a number, got 'three'"),
    ],
)
def test_a_priority_that_is_none(criterion: str, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        order([], [criterion])


def test_every_axis_can_be_selected_and_ranked_by() -> None:
    for axis in AXES:
        assert select(CELLS, f"{axis} == None or {axis} != None") == CELLS
        assert len(order(CELLS, [axis])) == len(CELLS)
