"""Simulate a crowd that errs: a noise pattern, a worker model, an assignment of workers to items, then the draws."""

from crowdml.noise.assignment import ASSIGNMENTS, Assignment, make_assignment
from crowdml.noise.missing import MISSING_RULES, remove_labels
from crowdml.noise.patterns import PATTERNS, NoisePattern, make_pattern
from crowdml.noise.simulation import simulate_crowd
from crowdml.noise.workers import WORKER_MODELS, Workers, make_worker_model, make_workers

__all__ = [
    "ASSIGNMENTS",
    "MISSING_RULES",
    "PATTERNS",
    "WORKER_MODELS",
    "Assignment",
    "NoisePattern",
    "Workers",
    "make_assignment",
    "make_pattern",
    "make_worker_model",
    "make_workers",
    "remove_labels",
    "simulate_crowd",
]
