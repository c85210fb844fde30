"""Where a study is kept, so that several drivers can share it: a journal in a file, or a database."""

from __future__ import annotations

from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend


class StudyError(ValueError):
    """A storage that cannot be opened, or that holds another kind of study."""


def open_storage(where: str) -> BaseStorage:
    """A journal in a file, or a database.

    Args:
        where: a path, or a URL such as sqlite:///study.db or postgresql://host/name.

    Raises:
        StudyError: it cannot be opened.
    """
    try:
        if "://" in where:
            return RDBStorage(where)
        Path(where).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(where))
    except Exception as error:  # whatever a database driver raises
        raise StudyError(f"cannot open the study {without_password(where)}: {str(error).splitlines()[0]}") from error


def without_password(where: str) -> str:
    """A storage's name as it may be shown."""
    scheme, mark, rest = where.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else where
