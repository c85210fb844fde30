"""Open an existing results folder."""

from __future__ import annotations

from sweeps.store.result_store import ResultsError, ResultStore


def open_results(location: str) -> ResultStore:
    """Return the results folder at a path or URI; raise ResultsError if there is none."""
    store = ResultStore(location)
    if not store.exists():
        raise ResultsError(f"there is no results folder at {store.public_location}")
    return store
