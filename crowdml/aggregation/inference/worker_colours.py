"""Tell workers apart by their annotations alone, whatever the names and the order of workers, items and classes."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from crowdml.labels import CrowdLabels

ODD = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93], np.uint64)
"""Odd factors.  Each part of a hash has another factor, so the order of the parts changes the hash."""


def worker_colours(crowd: CrowdLabels) -> NDArray[np.uint64]:
    """Return (n_workers,) numbers that depend on the annotations of each worker, and not on any name or order.

    This is colour refinement (B. Weisfeiler and A. Leman, 1968).  Items, workers, classes, and the pairs of an item and
    a class, have colours.  A new colour is a hash of the old colour and of the annotations.  An annotation is a hash of
    the colours of its four parts.  The colours are refined until the number of different colours stays the same.
    """
    pair, pair_of = np.unique(crowd.item.astype(np.int64) * crowd.n_classes + crowd.label, return_inverse=True)
    parts = (crowd.item, crowd.n_items), (crowd.worker, crowd.n_workers), (crowd.label, crowd.n_classes)
    parts = *parts, (pair_of, len(pair))
    colours = [np.zeros(n, np.uint64) for _, n in parts]
    n_different = 0
    while True:
        mixed = np.zeros(crowd.n_annotations, np.uint64)
        for colour, (at, _), factor in zip(colours, parts, ODD, strict=True):
            mixed += _hash(colour * factor + factor)[at]
        mixed = _hash(mixed)
        for number, (at, n) in enumerate(parts):
            received = np.zeros(n, np.uint64)
            np.add.at(received, at, mixed)  # whole numbers, so their order does not change the sum
            colours[number] = _hash(colours[number] * ODD[0] + received)
        before, n_different = n_different, sum(len(np.unique(colour)) for colour in colours)
        if n_different == before:
            return colours[1]


def graph_colours(weights: sp.csr_array) -> NDArray[np.uint64]:
    """Return (n,) numbers for the nodes of a graph with weighted edges, as `worker_colours` does for a crowd."""
    node = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    weight = _hash(np.rint(weights.data * 1e9).astype(np.int64).astype(np.uint64))  # without the rounding errors
    colour = np.zeros(weights.shape[0], np.uint64)
    n_different = 0
    while True:
        received = np.zeros_like(colour)
        np.add.at(received, node, _hash(_hash(colour * ODD[0] + ODD[0])[weights.indices] + weight))
        colour = _hash(colour * ODD[1] + received)
        before, n_different = n_different, len(np.unique(colour))
        if n_different == before:
            return colour


def answer_hashes(crowd: CrowdLabels) -> NDArray[np.uint64]:
    """Return (n_workers,) numbers, equal for workers who gave the same labels to the same items."""
    answer = crowd.item.astype(np.uint64) * np.uint64(crowd.n_classes) + crowd.label.astype(np.uint64)
    total = np.zeros(crowd.n_workers, np.uint64)
    np.add.at(total, crowd.worker, _hash(answer + np.uint64(1)))
    return total


def _hash(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 64 mixed bits of each value (the finaliser of MurmurHash3)."""
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53), (33, 1)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values
