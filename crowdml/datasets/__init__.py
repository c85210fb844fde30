"""Data sets: images with their true classes, by name."""

from crowdml.datasets.base import ImageData, channel_statistics, fingerprint, stratified_order
from crowdml.datasets.download import DatasetMissingError
from crowdml.datasets.images import (
    class_names,
    has_images,
    image_shape,
    load_images,
    n_classes,
    n_train_items,
    names,
)

__all__ = [
    "DatasetMissingError",
    "ImageData",
    "channel_statistics",
    "class_names",
    "fingerprint",
    "has_images",
    "image_shape",
    "load_images",
    "n_classes",
    "n_train_items",
    "names",
    "stratified_order",
]
