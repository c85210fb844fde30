"""Data sets by name: images with true classes, and crowds of real workers."""

from crowdml.datasets.catalogue import Description, describe, load
from crowdml.datasets.crowd_inputs import crowd_names_with_inputs
from crowdml.datasets.crowd_sources import CrowdSource
from crowdml.datasets.crowds import CrowdData, crowd_names, crowd_source, load_crowd
from crowdml.datasets.data import ImageData, TrainTest, channel_statistics, fingerprint, stratified_order
from crowdml.datasets.download import DatasetMissingError
from crowdml.datasets.images import class_names, has_images, image_shape, load_images, n_classes, n_train_items, names

__all__ = [
    "CrowdData",
    "CrowdSource",
    "DatasetMissingError",
    "Description",
    "ImageData",
    "TrainTest",
    "channel_statistics",
    "class_names",
    "crowd_names",
    "crowd_names_with_inputs",
    "crowd_source",
    "describe",
    "fingerprint",
    "has_images",
    "image_shape",
    "load",
    "load_crowd",
    "load_images",
    "n_classes",
    "n_train_items",
    "names",
    "stratified_order",
]
