"""Check a name.  The error for an unknown name suggests similar valid names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST = 20
_LISTED_BY = {"method": "crowdml methods", "learner": "crowdml methods", "label source": "crowdml methods"}
"""What a name names -> the command that prints the valid names."""


class UnknownNameError(ValueError):
    """A name that is not among the valid names."""


def check_name(what: str, name: str, valid: Iterable[str]) -> str:
    """Return the name if it is valid.

    Raises:
        UnknownNameError: the name is unknown; the message lists similar names and all valid names, or the command that
            prints many names.
    """
    names = list(valid)
    if not isinstance(name, str):
        raise UnknownNameError(f"the name of a {what} must be a text, got {name!r} (there are: {', '.join(names)})")
    if name in names:
        return name
    near = near_names(name, names)
    hint = f"; did you mean {near}?" if near else ""
    many = what in _LISTED_BY and len(names) > _MOST
    known = f"{_LISTED_BY[what]} lists all {len(names)}" if many else f"there are: {', '.join(names)}"
    raise UnknownNameError(f"unknown {what} {name!r}{hint} ({known})")


def near_names(name: str, valid: Iterable[str]) -> str:
    """Return the valid names most similar to a name, joined by "or", or an empty text."""
    return " or ".join(difflib.get_close_matches(name, list(valid), n=3, cutoff=0.5))
