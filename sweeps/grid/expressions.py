"""The language of `--only`: comparisons of axes with values.  An expression cannot run code.

    method == "labnet" and n_workers > 3
    dataset in ["mnist", "cifar10"] and not 0.3 <= noise_rate < 0.6

An axis is a column of the results table that describes the cell.  It is compared with a number, a text, None or a list
of these.  Comparisons are joined with `and`, `or` and `not`.  If a cell has no value on an axis (a label-only cell has
no network), only `axis == None`, `axis != value` and `axis not in [value]` hold, as in Python.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from typing import Any, NoReturn

import pandas as pd

from crowdml.experiment.axes import Kind
from crowdml.experiment.cell import COLUMNS as AXES
from crowdml.support.names import UnknownNameError, check_name

MAX_DEPTH = 50

_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_MEMBERSHIP = (ast.In, ast.NotIn)
_EQUALITY = (ast.Eq, ast.NotEq)
_NUMBERS, _TEXTS = "numbers", "texts"


class SelectionError(ValueError):
    """An expression or a priority cannot be used; the message says where and what to do."""


def parse(expression: str) -> ast.expr:
    """Parse an expression into a tree that holds only what the language allows.

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
    _Check(text).condition(tree, depth=0)
    return tree


def axes_of(tree: ast.expr) -> set[str]:
    """Return the axes that a parsed expression names."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def holds(tree: ast.expr, table: pd.DataFrame) -> pd.Series:
    """Evaluate a parsed expression; return a (n_rows,) bool series.

    Args:
        tree: the result of `parse`.
        table: for each axis of the expression a column of text (str) or numbers (float); a missing value is NaN.
    """
    match tree:
        case ast.BoolOp(op=op, values=parts):
            return reduce(_join(op), (holds(part, table) for part in parts))
        case ast.BinOp(left=left, op=op, right=right):
            return _join(op)(holds(left, table), holds(right, table))
        case ast.UnaryOp(operand=operand):
            return ~holds(operand, table)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            sides = [_side(side, table) for side in (left, *comparators)]
            each = (_compare(*triple) for triple in zip(sides, ops, sides[1:], strict=False))
            return reduce(operator.and_, each)
    raise AssertionError(f"unchecked expression: {ast.dump(tree)}")


class _Check:
    """Walks through a tree and refuses everything that the language does not allow."""

    def __init__(self, text: str) -> None:
        self._text = text

    def condition(self, node: ast.expr, *, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise SelectionError(f"the expression is nested more than {MAX_DEPTH} deep; take a list: axis in [...]")
        match node:
            case ast.BoolOp(values=parts):
                for part in parts:
                    self.condition(part, depth=depth + 1)
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr(), right=right):
                self.condition(left, depth=depth + 1)
                self.condition(right, depth=depth + 1)
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                self.condition(operand, depth=depth + 1)
            case ast.Compare():
                self._comparison(node)
            case ast.Name() | ast.Constant():
                self._refuse(node, "is not a comparison; write axis == value")
            case _:
                self._refuse(node, "is not allowed; compare axes with values, and join comparisons with and, or, not")

    def _comparison(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for left, sign, right in zip(sides, node.ops, sides[1:], strict=False):
            kinds = [self._kinds(side) for side in (left, right)]
            lists = [isinstance(side, (ast.List, ast.Tuple)) for side in (left, right)]
            if isinstance(sign, (ast.Is, ast.IsNot)):
                self._refuse(node, "is not allowed; write == None or != None")
            if not any(isinstance(side, ast.Name) for side in (left, right)):
                self._refuse(node, "compares no axis; write axis == value")
            if lists[0] or (isinstance(sign, _MEMBERSHIP) and not lists[1]):
                self._refuse(node, "needs a list on its right; write axis in [value, ...]")
            if lists[1] and not isinstance(sign, (*_MEMBERSHIP, *_EQUALITY)):
                self._refuse(node, "compares with a list; write axis in [value, ...]")
            if kinds[0] and kinds[1] and kinds[0] != kinds[1]:
                self._refuse(node, f"compares {' with '.join(sorted(kinds[0] | kinds[1]))}")
            if type(sign) in _ORDER and not (kinds[0] and kinds[1]):
                self._refuse(node, "puts None in an order; write == None or != None")

    def _kinds(self, side: ast.expr) -> set[str]:
        """Return the kinds (numbers, texts) of an axis, a value or the values of a list; None has no kind."""
        match side:
            case ast.Name(id=name) if name in AXES:
                return {_NUMBERS if AXES[name].axis.kind in (Kind.WHOLE, Kind.NUMBER) else _TEXTS}
            case ast.Name(id=name):
                try:
                    check_name("axis", name, AXES)
                except UnknownNameError as error:
                    raise SelectionError(f"{self._place(side)}: {error}") from None
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                if not all(isinstance(_literal(element), (float, str, type(None))) for element in elements):
                    self._refuse(side, "may hold only numbers, texts and None")
                return set().union(*(self._kinds(element) for element in elements))
        value = _literal(side)
        if isinstance(value, str):
            return {_TEXTS}
        if isinstance(value, float):
            return {_NUMBERS}
        if value is not None:
            self._refuse(side, "is not allowed; compare with numbers, texts, None or a list of them")
        return set()

    def _refuse(self, node: ast.expr, reason: str) -> NoReturn:
        raise SelectionError(f"{self._place(node)} {reason}; the axes are {', '.join(AXES)}")

    def _place(self, node: ast.expr) -> str:
        source = ast.get_source_segment(self._text, node) or self._text
        return f"{source!r} at column {node.col_offset + 1}"


def _literal(node: ast.expr) -> Any:
    """Return the number (as a float), text or None that a node stands for; the ellipsis for anything else."""
    match node:
        case ast.Constant(value=str() | None as value):
            return value
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            with suppress(OverflowError):
                return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float()) as operand):
            value = _literal(operand)
            return value if value is ... else -value
    return ...


def _join(op: ast.AST) -> Callable[[pd.Series, pd.Series], pd.Series]:
    return operator.and_ if isinstance(op, (ast.And, ast.BitAnd)) else operator.or_


def _side(node: ast.expr, table: pd.DataFrame) -> Any:
    if isinstance(node, ast.Name):
        return table[node.id]
    return [_literal(part) for part in node.elts] if isinstance(node, (ast.List, ast.Tuple)) else _literal(node)


def _compare(left: Any, sign: ast.cmpop, right: Any) -> pd.Series:
    if type(sign) in _ORDER:
        return _ORDER[type(sign)](left, right)
    if not isinstance(left, pd.Series):
        left, right = right, left
    if isinstance(right, pd.Series):
        same = (left == right) | (left.isna() & right.isna())
    else:
        values = right if isinstance(right, list) else [right]
        same = left.isin([value for value in values if value is not None])
        if None in values:
            same |= left.isna()
    return same if isinstance(sign, (ast.Eq, ast.In)) else ~same
