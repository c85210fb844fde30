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
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UnknownNameError(f"unknown {what} {name!r}{hint} (there are: {', '.join(names)})")
