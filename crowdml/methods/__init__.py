"""Methods by name: a method consists of a label source and a learner."""

from crowdml.methods.configure import Method, canonical, needs_network, parts, resolve, version
from crowdml.methods.registry import ALIASES, REGISTRY, Entry

__all__ = ["ALIASES", "REGISTRY", "Entry", "Method", "canonical", "needs_network", "parts", "resolve", "version"]
