"""Read and write files: the annotations of a crowd, labels of items, and result tables."""

from crowdml.files.form import FileError, FileForm
from crowdml.files.reading import Columns, read_columns, read_crowd, read_labels, read_prior
from crowdml.files.text_stream import Progress
from crowdml.files.writing import check_writable, renamed, write_tables

__all__ = [
    "Columns",
    "FileError",
    "FileForm",
    "Progress",
    "check_writable",
    "read_columns",
    "read_crowd",
    "read_labels",
    "read_prior",
    "renamed",
    "write_tables",
]
