"""Check a name.  The error for an unknown name suggests similar valid names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownNameError(ValueError):
    """A name that is not among the valid names."""


def check_name(what: str, name: str, valid: Iterable[str]) -> str:
    """Return the name if it is valid.

    Raises:
        UnknownNameError: the name is unknown; the message lists similar names and all valid names.
    """
    names = list(valid)
    if not isinstance(name, str):
        raise UnknownNameError(f"the name of a {what} must be a text, got {name!r} (there are: {', '.join(names)})")
    if name in names:
        return name
    near = near_names(name, names)
    hint = f"; did you mean {near}?" if near else ""
    raise UnknownNameError(f"unknown {what} {name!r}{hint} (there are: {', '.join(names)})")


def near_names(name: str, valid: Iterable[str]) -> str:
    """Return the valid names most similar to a name, joined by "or", or an empty text."""
    return " or ".join(difflib.get_close_matches(name, list(valid), n=3, cutoff=0.5))
