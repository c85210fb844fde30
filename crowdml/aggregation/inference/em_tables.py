"""The state that EM passes from an M-step to the next E-step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Tables(NamedTuple):
    """The result of an M-step, and all that an E-step needs to know about other items.

    Attributes:
        confusion: (n_workers, n_classes, n_classes) P(label given | true class); rows sum to one.
        class_prior: (n_classes,), or the fixed prior.
        log_confusion: (n_workers, n_classes, n_classes) logarithms for the E-step.  The rows of a variational method
            need not be normalised.
        log_prior: (n_classes,) or (n_items, n_classes) logarithms for the E-step.
        log_density: the part of the objective that is not log evidence: the log density of the tables under their
            prior, or minus the divergence of their distribution from the prior.
    """

    confusion: Array
    class_prior: Array
    log_confusion: Array
    log_prior: Array
    log_density: float
