"""Results folders that must be there already."""

from __future__ import annotations

from sweeps.store.result_store import ResultsError, ResultStore


def existing(location: str) -> ResultStore:
    """The results folder at a location.

    Raises:
        ResultsError: there is none.
    """
    store = ResultStore(location)
    if not store.exists():
        raise ResultsError(f"there is no results folder at {store.public_location}")
    return store
