"""Noise: how a simulated crowd errs.  patterns -> workers -> simulate."""

from crowdml.noise.patterns import PATTERNS, NoisePattern, make_pattern
from crowdml.noise.simulate import MISSING_RULES, simulate_crowd
from crowdml.noise.workers import WORKER_MODELS, worker_transitions

__all__ = [
    "MISSING_RULES",
    "PATTERNS",
    "WORKER_MODELS",
    "NoisePattern",
    "make_pattern",
    "simulate_crowd",
    "worker_transitions",
]
