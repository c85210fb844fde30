"""All data sets, images and crowds of real workers, under one set of names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crowdml.datasets import crowds, images
from crowdml.datasets.crowds import CrowdData
from crowdml.datasets.data import ImageData
from crowdml.support.names import check_name

Kind = Literal["images", "labels", "crowd"]


@dataclass(frozen=True)
class Description:
    """One data set, for a list of all.

    Args:
        name: in a grid.
        kind: "images" with a true class, true classes ("labels") only, or a real "crowd".
        n_items: training items, or items of the crowd.
        n_classes: number of classes.
        n_workers, n_annotations: of a crowd.
        n_known: items of a crowd whose true class is known.
        summary, origin, licence, citation: of a crowd; None where the data set's own documentation says it.
    """

    name: str
    kind: Kind
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
    """Every data set, images first; reads no file."""
    return [*map(_of_images, images.names()), *map(_of_crowd, crowds.crowd_names())]


def load(
    name: str, root: str | Path | None = None, *, download: bool = True, for_networks: bool = False
) -> ImageData | CrowdData:
    """`load_images` or `load_crowd`, whichever has the name; of a crowd the items too if they are for networks.

    Raises:
        UnknownNameError: neither has (a ValueError).
        DatasetMissingError: its files are neither there nor to be had, or damaged.
    """
    check_name("data set", name, [*images.names(), *crowds.crowd_names()])
    if name in crowds.crowd_names():
        return crowds.load_crowd(name, root, download=download, for_networks=for_networks)
    return images.load_images(name, root, download=download)


def _of_images(name: str) -> Description:
    kind: Kind = "images" if images.has_images(name) else "labels"
    return Description(name, kind, images.n_train_items(name), images.n_classes(name))


def _of_crowd(name: str) -> Description:
    source = crowds.crowd_source(name)
    return Description(
        name=name,
        kind="crowd",
        n_items=source.n_items,
        n_classes=source.n_classes,
        n_workers=source.n_workers,
        n_annotations=source.n_annotations,
        n_known=source.n_known,
        summary=source.summary,
        origin=source.origin,
        licence=source.licence,
        citation=source.citation,
    )
