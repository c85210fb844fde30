"""A method that fails with everything secret in its traceback."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from crowdml.aggregation import Aggregation
from crowdml.labels import CrowdLabels

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENGbPxRfiCYSPRINGTIME",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEBYaDSPRINGTIME",
    "HF_TOKEN": "hf_abcdefSPRINGTIMEghijkl",
    "WANDB_API_KEY": "0123456789abcdefSPRINGTIME",
}
MARK = "SPRINGTIME"
"""Part of every secret."""


@dataclass(frozen=True)
class Leaky:
    """Raises what it knows, as a library does that prints its configuration."""

    def fit(self, crowd: CrowdLabels, prior: Any = None) -> Aggregation:
        known = {name: os.environ[name] for name in SECRETS}
        raise RuntimeError(f"cannot sign in with {known} at s3://AKIAABCDEFGHIJKLMNOP:{MARK}@bucket/folder")
