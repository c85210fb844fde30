"""Aggregators: from the annotations of a crowd to one posterior an item."""

from crowdml.aggregation.base import Aggregation, Aggregator
from crowdml.aggregation.dawid_skene import DawidSkene
from crowdml.aggregation.majority import MajorityVote
from crowdml.aggregation.minimax_entropy import MinimaxEntropy

__all__ = ["Aggregation", "Aggregator", "DawidSkene", "MajorityVote", "MinimaxEntropy"]
