"""The formats of image files that are read: all that Pillow itself decodes."""

from __future__ import annotations

from PIL import Image

# Pillow only recognises some formats, or decodes them by another program, which a hostile file could misuse.
_NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PCD", "WMF"}

Image.init()
FORMATS = tuple(name for name in Image.ID if name in Image.OPEN and name not in _NOT_DECODED)
"""Names of the formats, as Pillow calls them."""

SUFFIXES = frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)
"""The endings of image files, in lower case, with the point."""
