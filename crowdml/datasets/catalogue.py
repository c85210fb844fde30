"""All data sets by name: images, and crowds of real workers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from crowdml.datasets import crowds, images
from crowdml.datasets.crowds import CrowdData
from crowdml.datasets.data import ImageData
from crowdml.support.names import check_name

DatasetKind = Literal["images", "labels", "crowd"]


@dataclass(frozen=True)
class Description:
    """The description of one data set.

    Args:
        name: the name in a grid.
        kind: "images" (images with true classes), "labels" (true classes only), or "crowd" (a real crowd).
        n_items: number of training items; for a crowd, the number of all items.
        n_workers, n_annotations: sizes of a crowd; None for other data sets.
        n_known: number of items of a crowd with a known true class; None for other data sets.
        summary, origin, licence, citation: texts about a crowd, see CrowdSource; None for other data sets.
    """

    name: str
    kind: DatasetKind
    n_items: int
    n_classes: int
    n_workers: int | None = None
    n_annotations: int | None = None
    n_known: int | None = None
    summary: str | None = None
    origin: str | None = None
    licence: str | None = None
    citation: str | None = None


def describe() -> list[Description]:
    """Return the descriptions of all data sets, images first, without reading a file."""
    return [*map(_of_images, images.names()), *map(_of_crowd, crowds.crowd_names())]


def load(
    name: str, root: str | Path | None = None, *, download: bool = True, for_networks: bool = False
) -> ImageData | CrowdData:
    """Load images with `load_images`, or a crowd with `load_crowd`, depending on the name.

    Raises:
        UnknownNameError: no data set has this name (a ValueError).
        DatasetMissingError: files are missing and cannot be downloaded, or are damaged.
        ValueError: `for_networks` is set and the items of this crowd are not available.
    """
    check_name("data set", name, [*images.names(), *crowds.crowd_names()])
    if name in crowds.crowd_names():
        return crowds.load_crowd(name, root, download=download, for_networks=for_networks)
    return images.load_images(name, root, download=download)


def _of_images(name: str) -> Description:
    kind: DatasetKind = "images" if images.has_images(name) else "labels"
    return Description(name, kind, images.n_train_items(name), images.n_classes(name))


def _of_crowd(name: str) -> Description:
    source = crowds.crowd_source(name)
    facts = {field.name: getattr(source, field.name) for field in fields(Description) if hasattr(source, field.name)}
    return Description(name=name, kind="crowd", **facts)
