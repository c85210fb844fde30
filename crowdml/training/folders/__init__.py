"""Items that are image files in a folder: which there are, whether they can be read, and how training streams them."""

from crowdml.training.folders.layouts import FolderItems, Layout, read_layout
from crowdml.training.folders.unreadable import drop_unreadable, leave_out, unreadable_images

__all__ = ["FolderItems", "Layout", "drop_unreadable", "leave_out", "read_layout", "unreadable_images"]
