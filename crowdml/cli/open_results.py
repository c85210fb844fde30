"""Open a results folder for a command."""

from __future__ import annotations

from crowdml.cli.display import Console, speak
from sweeps.store.result_store import ResultsError, ResultStore


def open_results(location: str, *, must_exist: bool = True) -> ResultStore:
    """Open the results folder at a path or URI.  Damaged rows are named on standard error.

    Raises:
        ResultsError: the results folder is missing, and `must_exist` is set.
    """
    store = ResultStore(location, tell=lambda line: speak(Console(stderr=True), line))
    if must_exist and not store.exists():
        raise ResultsError(f"there is no results folder at {store.public_location}")
    return store
