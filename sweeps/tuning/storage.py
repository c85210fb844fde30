"""The storage of a study: a journal file or a database, so that several drivers can share the study."""

from __future__ import annotations

from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend


class StudyError(ValueError):
    """The storage of a study cannot be opened."""


def open_storage(storage: str) -> BaseStorage:
    """Open a storage, and create it if it does not exist.

    Args:
        storage: the path of a journal file, or the URL of a database such as sqlite:///study.db or
            postgresql://host/name.

    Raises:
        StudyError: the storage cannot be opened.
    """
    try:
        if "://" in storage:
            return RDBStorage(storage)
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(storage))
    except Exception as error:  # each database driver raises errors of its own
        raise StudyError(f"cannot open the study {without_password(storage)}: {str(error).splitlines()[0]}") from error


def without_password(storage: str) -> str:
    """Return the path or URL of a storage without the user and the password."""
    scheme, mark, rest = storage.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else storage
