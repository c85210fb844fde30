"""One way to look a name up: an unknown one is answered with the nearest valid names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownNameError(ValueError):
    """A name that is in no registry."""


def check_name(what: str, name: str, valid: Iterable[str]) -> str:
    """The name itself, if valid.

    Raises:
        UnknownNameError: says what was asked for, the nearest valid names, and all of them.
    """
    names = list(valid)
    if name in names:
        return name
    near = near_names(name, names)
    hint = f"; did you mean {near}?" if near else ""
    raise UnknownNameError(f"unknown {what} {name!r}{hint} (there are: {', '.join(names)})")


def near_names(name: str, valid: Iterable[str]) -> str:
    """Return the valid names that are most like a name, joined by "or"; empty if there are none."""
    return " or ".join(difflib.get_close_matches(name, list(valid), n=3, cutoff=0.5))
