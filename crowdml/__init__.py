"""crowdml: learning from crowdsourced and noisy labels."""

from crowdml.labels import CrowdLabels

__all__ = ["CrowdLabels"]
