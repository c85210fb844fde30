"""The language of `--only`: comparisons of axes with values.  An expression cannot run code.

    method == "labnet" and n_workers > 3
    dataset in ["mnist", "cifar10"] and not 0.3 <= noise_rate < 0.6

An axis is a column of the results table that describes the cell.  A comparison takes an axis and a number, a text, None
or a list of these.  The words `and`, `or` and `not` join comparisons.  A cell may have no value on an axis: a
label-only cell has no network.  Then only `axis == None`, `axis != value` and `axis not in [value]` hold, as in Python.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import cache, reduce
from typing import Any, NamedTuple, NoReturn

import pandas as pd

from crowdml.experiment.axes import Kind
from crowdml.experiment.cell import COLUMNS
from crowdml.support.names import UnknownNameError, check_name

MAX_DEPTH = 50

_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_MEMBERSHIP = (ast.In, ast.NotIn)
_EQUALITY = (ast.Eq, ast.NotEq)
_NUMBERS, _TEXTS = "numbers", "texts"


class SelectionError(ValueError):
    """An expression or a priority that cannot be used.  The message says where, and what to write instead."""


def holds(expression: str, column: Callable[[str], pd.Series]) -> pd.Series:
    """Return (n_rows,) bool: the rows for which an expression holds.

    Args:
        column: axis -> (n_rows,) its values as text (str) or as numbers (float); a missing value is NaN.

    Raises:
        SelectionError: the text is not an expression of the language.
    """
    text = expression.replace("\n", " ").strip()
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise SelectionError(f"cannot read {text!r} at column {error.offset or 1}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise SelectionError(f"cannot read the expression: {error or 'it is nested too deeply'}") from None
    return _Evaluation(text, column).condition(tree, depth=0)


def check_expression(expression: str) -> str:
    """Check an expression, and return it unchanged.

    Raises:
        SelectionError: the text is not an expression of the language.
    """
    holds(expression, lambda axis: pd.Series([], dtype="float64" if is_number(axis) else "str"))
    return expression


def is_number(axis: str) -> bool:
    """Return whether the values of an axis are numbers."""
    return COLUMNS[axis].axis.kind in (Kind.WHOLE, Kind.NUMBER)


class _Side(NamedTuple):
    """One side of a comparison: a column, a list or a single value; and whether it holds numbers or texts."""

    value: Any
    kinds: set[str]

    @property
    def is_axis(self) -> bool:
        return isinstance(self.value, pd.Series)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)


class _Evaluation:
    """Evaluates a tree; refuses everything that is not part of the language."""

    def __init__(self, text: str, column: Callable[[str], pd.Series]) -> None:
        self._text, self._column = text, cache(column)

    def condition(self, node: ast.expr, *, depth: int) -> pd.Series:
        if depth > MAX_DEPTH:
            raise SelectionError(f"the expression is nested more than {MAX_DEPTH} deep; write a list: axis in [...]")
        match node:
            case ast.BoolOp(op=op, values=parts):
                join = operator.and_ if isinstance(op, ast.And) else operator.or_
                return reduce(join, [self.condition(part, depth=depth + 1) for part in parts])
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
                join = operator.and_ if isinstance(op, ast.BitAnd) else operator.or_
                return join(self.condition(left, depth=depth + 1), self.condition(right, depth=depth + 1))
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return ~self.condition(operand, depth=depth + 1)
            case ast.Compare(left=left, ops=signs, comparators=others):
                sides = [self._side(side) for side in (left, *others)]
                triples = zip(sides, signs, sides[1:], strict=False)
                return reduce(operator.and_, [self._compared(node, *triple) for triple in triples])
            case ast.Name() | ast.Constant():
                self._refuse(node, "is not a comparison; write axis == value")
        self._refuse(node, "is not allowed; compare axes with values, and join comparisons with and, or, not")

    def _side(self, node: ast.expr) -> _Side:
        if isinstance(node, ast.Name):
            try:
                check_name("axis", node.id, COLUMNS)
            except UnknownNameError as error:
                raise SelectionError(f"{self._place(node)}: {error}") from None
            return _Side(self._column(node.id), {_NUMBERS if is_number(node.id) else _TEXTS})
        is_list = isinstance(node, (ast.List, ast.Tuple))
        try:
            literal = ast.literal_eval(node)
            values = [_number_or_text(value) for value in (literal if is_list else [literal])]
        except (ValueError, TypeError, OverflowError):
            if is_list:
                self._refuse(node, "may hold only numbers, texts and None")
            self._refuse(node, "is not allowed; compare with numbers, texts, None or a list of them")
        kinds = {_TEXTS if isinstance(value, str) else _NUMBERS for value in values if value is not None}
        return _Side(values if is_list else values[0], kinds)

    def _compared(self, node: ast.Compare, left: _Side, sign: ast.cmpop, right: _Side) -> pd.Series:
        if isinstance(sign, (ast.Is, ast.IsNot)):
            self._refuse(node, "is not allowed; write == None or != None")
        if not (left.is_axis or right.is_axis):
            self._refuse(node, "compares no axis; write axis == value")
        if left.is_list or (isinstance(sign, _MEMBERSHIP) and not right.is_list):
            self._refuse(node, "needs a list on its right; write axis in [value, ...]")
        if right.is_list and not isinstance(sign, (*_MEMBERSHIP, *_EQUALITY)):
            self._refuse(node, "compares with a list; write axis in [value, ...]")
        if len(left.kinds | right.kinds) > 1:
            self._refuse(node, f"compares {' with '.join(sorted(left.kinds | right.kinds))}")
        if type(sign) in _ORDER:
            if not (left.kinds and right.kinds):
                self._refuse(node, "orders None, which has no order; write == None or != None")
            return _ORDER[type(sign)](left.value, right.value)
        same = _same(left.value, right.value) if left.is_axis else _same(right.value, left.value)
        return same if isinstance(sign, (ast.Eq, ast.In)) else ~same

    def _refuse(self, node: ast.expr, reason: str) -> NoReturn:
        raise SelectionError(f"{self._place(node)} {reason}; the axes are {', '.join(COLUMNS)}")

    def _place(self, node: ast.expr) -> str:
        source = ast.get_source_segment(self._text, node) or self._text
        return f"{source!r} at column {node.col_offset + 1}"


def _number_or_text(value: Any) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return float(value)


def _same(column: pd.Series, other: Any) -> pd.Series:
    """Return (n_rows,) bool: where a column equals another column, a value or one of a list of values."""
    if isinstance(other, pd.Series):
        return (column == other) | (column.isna() & other.isna())
    values = other if isinstance(other, list) else [other]
    same = column.isin([value for value in values if value is not None])
    return same | column.isna() if None in values else same
