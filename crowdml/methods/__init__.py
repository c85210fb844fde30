"""Methods by name: a label source and a learner, found in the registry and configured."""

from crowdml.methods.configure import Method, canonical, needs_network, parts, resolve, version
from crowdml.methods.registry import ALIASES, REGISTRY, Entry

__all__ = ["ALIASES", "REGISTRY", "Entry", "Method", "canonical", "needs_network", "parts", "resolve", "version"]
