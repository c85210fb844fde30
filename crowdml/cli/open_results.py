"""Open a results folder for a command."""

from __future__ import annotations

from crowdml.cli.display import Console, speak
from sweeps.store.result_store import ResultsError, ResultStore


def open_results(location: str, *, must_exist: bool = True) -> ResultStore:
    """Return the results folder at a path or URI.  It names damaged rows on standard error.

    Raises:
        ResultsError: there is no results folder, and there must be one.
    """
    store = ResultStore(location, tell=lambda line: speak(Console(stderr=True), line))
    if must_exist and not store.exists():
        raise ResultsError(f"there is no results folder at {store.public_location}")
    return store
