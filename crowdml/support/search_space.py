"""The values that a search may try for an option: Float, Whole, Choice and Either.

A class with options declares its search space in the class variable SPACE: option -> range.  A range is plain data.
This module does not need Optuna: any object with the methods of `Suggests` can draw from a range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Value = bool | int | float | str | None


class Suggests(Protocol):
    """An object that draws values, such as an Optuna trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number in [low, high]."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return a whole number from low to high, both included."""
        ...

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        """Return one of the choices."""
        ...


class _OneDraw:
    """A range whose `suggest` draws one parameter."""

    def parameters(self, name: str, value: Value) -> dict[str, Value]:
        """Return the trial's parameters for which `suggest` returns the value."""
        return {name: value}


@dataclass(frozen=True)
class _Interval(_OneDraw):
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"a range needs two finite ends with low < high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"the low end of a logarithmic range must be above 0, got {self.low}")


@dataclass(frozen=True)
class Float(_Interval):
    """A real number in [low, high].  With `log`, draws are uniform in the logarithm, and low must be above 0.

    Raises:
        ValueError: the ends are not finite, are in the wrong order, or do not suit a logarithm.
    """

    def suggest(self, trial: Suggests, name: str) -> float:
        """Let a trial draw a value."""
        return float(trial.suggest_float(name, self.low, self.high, log=self.log))

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Whole(_Interval):
    """A whole number in [low, high].  With `log`, draws are uniform in the logarithm, and low must be above 0.

    Raises:
        ValueError: the ends are in the wrong order, or do not suit a logarithm.
    """

    low: int
    high: int

    def suggest(self, trial: Suggests, name: str) -> int:
        """Let a trial draw a value."""
        return int(trial.suggest_int(name, self.low, self.high, log=self.log))

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high}, whole{', log' if self.log else ''}"


@dataclass(frozen=True, init=False)
class Choice(_OneDraw):
    """One of several values: texts, numbers, True and False.

    Raises:
        ValueError: there are fewer than two values, or two are equal.
    """

    values: tuple[Value, ...]

    def __init__(self, *values: Value) -> None:
        object.__setattr__(self, "values", values)
        if len(values) < 2 or len(set(values)) < len(values):
            raise ValueError(f"a choice needs at least two values, all different, got {values}")

    def suggest(self, trial: Suggests, name: str) -> Value:
        """Let a trial draw a value."""
        return trial.suggest_categorical(name, self.values)

    def __contains__(self, value: object) -> bool:
        return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.values)

    def __str__(self) -> str:
        return " | ".join(str(value) for value in self.values)


@dataclass(frozen=True)
class Either:
    """The special value `value` or a number in the range `other`, such as 0 or a weight decay, or None or a threshold.

    Raises:
        ValueError: the range contains the value.
    """

    value: Value
    other: Float | Whole

    def __post_init__(self) -> None:
        if self.value in self.other:
            raise ValueError(f"the range {self.other} already contains {self.value}")

    def suggest(self, trial: Suggests, name: str) -> Value:
        """Let a trial draw first whether the value is in the range, then which value."""
        in_range = trial.suggest_categorical(self._switch(name), (False, True))
        return self.other.suggest(trial, name) if in_range else self.value

    def parameters(self, name: str, value: Value) -> dict[str, Value]:
        """Return the trial's parameters for which `suggest` returns the value."""
        if value == self.value:
            return {self._switch(name): False}
        return {self._switch(name): True, **self.other.parameters(name, value)}

    def _switch(self, name: str) -> str:
        return f"{name} is not {self.value}"

    def __contains__(self, value: object) -> bool:
        return value == self.value or value in self.other

    def __str__(self) -> str:
        return f"{self.value} or {self.other}"


Range = Float | Whole | Choice | Either
Space = Mapping[str, Range]
"""Maps each option to its range."""


def check_in(space: Space, name: str, value: object) -> None:
    """Raise ValueError unless the space has the option `name` and its range contains the value."""
    if name not in space:
        raise ValueError(f"option {name!r} cannot be searched (options with a range: {', '.join(space) or 'none'})")
    if value not in space[name]:
        raise ValueError(f"{name} must be in the range that is searched, {space[name]}, got {value!r}")
