"""Open an existing results folder."""

from __future__ import annotations

from functools import partial

from crowdml.cli.display import Console, speak
from sweeps.store.result_store import ResultsError, ResultStore


def open_results(location: str) -> ResultStore:
    """Return the results folder at a path or URI, which names damaged rows on standard error.

    Raises:
        ResultsError: there is no results folder.
    """
    store = ResultStore(location, tell=partial(speak, Console(stderr=True)))
    if not store.exists():
        raise ResultsError(f"there is no results folder at {store.public_location}")
    return store
