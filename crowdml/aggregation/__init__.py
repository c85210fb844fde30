"""Aggregate the annotations of a crowd into one posterior per item.

Laa and Bila are not imported here, because they need torch.  Import them from `laa` and `bila`.
"""

from crowdml.aggregation.aggregator import Aggregation, Aggregator
from crowdml.aggregation.bwa import Bwa
from crowdml.aggregation.cbcc import Cbcc
from crowdml.aggregation.crowdlab_weights import Crowdlab
from crowdml.aggregation.dawid_skene import DawidSkene
from crowdml.aggregation.ebcc import Ebcc
from crowdml.aggregation.glad import Glad
from crowdml.aggregation.ibcc import Ibcc
from crowdml.aggregation.kos import Kos
from crowdml.aggregation.label_model import LabelModel
from crowdml.aggregation.m_msr import MMsr
from crowdml.aggregation.mace import Mace
from crowdml.aggregation.majority import MajorityVote
from crowdml.aggregation.minimax.minimax_conditional import MinimaxConditional
from crowdml.aggregation.minimax.minimax_cv import MinimaxCv
from crowdml.aggregation.minimax.minimax_entropy import MinimaxEntropy
from crowdml.aggregation.minimax.minimax_ordinal import MinimaxOrdinal
from crowdml.aggregation.online.online_dawid_skene import OnlineDawidSkene
from crowdml.aggregation.spectral_em import SpectralEm
from crowdml.aggregation.wawa import Wawa
from crowdml.aggregation.zero_based_skill import ZeroBasedSkill

__all__ = [
    "Aggregation",
    "Aggregator",
    "Bwa",
    "Cbcc",
    "Crowdlab",
    "DawidSkene",
    "Ebcc",
    "Glad",
    "Ibcc",
    "Kos",
    "LabelModel",
    "MMsr",
    "Mace",
    "MajorityVote",
    "MinimaxConditional",
    "MinimaxCv",
    "MinimaxEntropy",
    "MinimaxOrdinal",
    "OnlineDawidSkene",
    "SpectralEm",
    "Wawa",
    "ZeroBasedSkill",
]
