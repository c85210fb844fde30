"""The registry of methods: a name in a grid -> what aggregates the labels and what learns from them.

A method is a label source and a learner.  `em` is Dawid-Skene followed by plain cross-entropy; `em+base` says the
same in full; `labnet` alternates between network and aggregator and is a label source that trains networks itself.
To add one: write its file and add its line to REGISTRY.  A class outside this package is named `package.module:Class`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any, Literal

from crowdml.names import UnknownNameError, check_name

Kind = Literal["aggregator", "learner", "joint"]


@dataclass(frozen=True)
class Entry:
    """One line of the registry.

    Args:
        kind: "aggregator" (fit(crowd) -> Aggregation), "learner" (a loss) or "joint" (fit(crowd, task, learner)).
        target: "module:Class", imported when first used so that listing methods needs no torch.
        summary: one line for the user.
        paper: its source.
        options: values that differ from the class's own defaults.
        learner_options: the same for the learner of a source, where the learner has such an option.
        two_classes_only: the method refuses crowds of more classes.
        version: raised when results change, so that exactly this method's cells are computed anew.
    """

    kind: Kind
    target: str
    summary: str
    paper: str
    options: Mapping[str, Any] = field(default_factory=dict)
    learner_options: Mapping[str, Any] = field(default_factory=dict)
    two_classes_only: bool = False
    version: int = 1


_DAWID_SKENE = "Dawid and Skene, Applied Statistics 1979"

REGISTRY: dict[str, Entry] = {
    "mv": Entry(
        "aggregator", "crowdml.aggregation.majority:MajorityVote",
        "majority vote, ties to the lowest class", "folklore",
    ),
    "em": Entry(
        "aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "Dawid-Skene EM, soft posteriors", _DAWID_SKENE,
    ),
    "em_hard": Entry(
        "aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "Dawid-Skene EM, hard labels", _DAWID_SKENE, {"hard": True},
    ),
    "em_map": Entry(
        "aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "Dawid-Skene EM under a Dirichlet prior that expects right answers", _DAWID_SKENE,
        {"smoothing": 0.1, "diagonal": 1.0},
    ),
    "class_one_coin": Entry(
        "aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "Dawid-Skene EM, one accuracy a worker and class", "Zhang, Chen, Zhou, Jordan, JMLR 2016",
        {"worker_model": "class_one_coin"},
    ),
    "one_coin": Entry(
        "aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "ZenCrowd: EM with one accuracy a worker", "Demartini, Difallah, Cudre-Mauroux, WWW 2012",
        {"worker_model": "one_coin"},
    ),
    "homogeneous": Entry(
        "aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "Dawid-Skene EM, one confusion matrix for all workers", _DAWID_SKENE, {"worker_model": "homogeneous"},
    ),
    "wawa": Entry(
        "aggregator", "crowdml.aggregation.wawa:Wawa",
        "vote weighted by each worker's agreement with the vote", "folklore",
    ),
    "zero_based_skill": Entry(
        "aggregator", "crowdml.aggregation.zero_based_skill:ZeroBasedSkill",
        "weighted vote and weights in turns, with a falling learning rate", "crowd-kit",
    ),
    "glad": Entry(
        "aggregator", "crowdml.aggregation.glad:Glad",
        "abilities of workers and difficulties of items", "Whitehill, Ruvolo, Wu, Bergsma, Movellan, NIPS 2009",
    ),
    "mace": Entry(
        "aggregator", "crowdml.aggregation.mace:Mace",
        "workers know or spam, variational Bayes", "Hovy, Berg-Kirkpatrick, Vaswani, Hovy, NAACL 2013",
    ),
    "kos": Entry(
        "aggregator", "crowdml.aggregation.kos:Kos",
        "message passing between items and workers; 2 classes", "Karger, Oh, Shah, NIPS 2011",
        two_classes_only=True,
    ),
    "m_msr": Entry(
        "aggregator", "crowdml.aggregation.m_msr:MMsr",
        "robust rank-one completion of the workers' agreement", "Ma, Olshevsky, NeurIPS 2020",
    ),
    "spectral_em": Entry(
        "aggregator", "crowdml.aggregation.spectral_em:SpectralEm",
        "Dawid-Skene EM from a spectral start", "Zhang, Chen, Zhou, Jordan, JMLR 2016",
    ),
    "minimax_entropy": Entry(
        "aggregator", "crowdml.aggregation.minimax_entropy:MinimaxEntropy",
        "regularised minimax entropy", "Zhou, Platt, Basu, Mao, NIPS 2012",
    ),
    "minimax_conditional": Entry(
        "aggregator", "crowdml.aggregation.minimax_conditional:MinimaxConditional",
        "minimax conditional entropy, a matrix an item", "Zhou, Liu, Platt, Meek, Shah, arXiv 1503.07240",
    ),
    "minimax_ordinal": Entry(
        "aggregator", "crowdml.aggregation.minimax_ordinal:MinimaxOrdinal",
        "minimax conditional entropy for ordered classes", "Zhou, Liu, Platt, Meek, ICML 2014",
    ),
    "minimax_cv": Entry(
        "aggregator", "crowdml.aggregation.minimax_cv:MinimaxCv",
        "minimax entropy, penalties chosen by cross-validation", "Zhou, Liu, Platt, Meek, Shah, arXiv 1503.07240",
    ),
    "minimax_ordinal_cv": Entry(
        "aggregator", "crowdml.aggregation.minimax_cv:MinimaxCv",
        "the same for ordered classes", "Zhou, Liu, Platt, Meek, Shah, arXiv 1503.07240", {"form": "ordinal"},
    ),
    "ibcc": Entry(
        "aggregator", "crowdml.aggregation.ibcc:Ibcc",
        "Bayesian Dawid-Skene, variational", "Kim, Ghahramani, AISTATS 2012",
    ),
    "cbcc": Entry(
        "aggregator", "crowdml.aggregation.cbcc:Cbcc",
        "Bayesian Dawid-Skene with communities of workers", "Venanzi, Guiver, Kazai, Kohli, Shokouhi, WWW 2014",
    ),
    "ebcc": Entry(
        "aggregator", "crowdml.aggregation.ebcc:Ebcc",
        "Bayesian, classes with subtypes so that workers may err together", "Li, Rubinstein, Cohn, ICML 2019",
    ),
    "bwa": Entry(
        "aggregator", "crowdml.aggregation.bwa:Bwa",
        "Bayesian weighted average of votes", "Li, Rubinstein, Cohn, WWW 2019",
    ),
    "label_model": Entry(
        "aggregator", "crowdml.aggregation.label_model:LabelModel",
        "Snorkel's label model, workers known by agreement in pairs",
        "Ratner, Hancock, Dunnmon, Sala, Pandey, Re, AAAI 2019",
    ),
    "laa": Entry(
        "aggregator", "crowdml.aggregation.laa:Laa",
        "label-aware autoencoder LAA-B", "Yin, Han, Zhang, Yu, IJCAI 2017",
    ),
    "bila": Entry(
        "aggregator", "crowdml.aggregation.bila:Bila",
        "amortised variational inference of the Dawid-Skene model",
        "Hong, Ghiassi, Zhou, Birke, Chen, arXiv 1807.07291",
    ),
    "base": Entry(
        "learner", "crowdml.learning.cross_entropy:CrossEntropy",
        "plain cross-entropy on the labels it is given", "folklore",
    ),
    "labnet": Entry(
        "joint", "crowdml.labnet:Labnet",
        "alternates network and Dawid-Skene, class prior from the network", "Ghiassi, Birke, Chen, VISAPP 2022",
    ),
    "labnet_instance": Entry(
        "joint", "crowdml.labnet:Labnet",
        "LABNET with the network's out-of-fold prediction as each item's prior",
        "this project, after Khetan, Lipton, Anandkumar, ICLR 2018",
        {"prior": "instance", "init": "em", "hard": False, "final_training": True},
        learner_options={"target": "posterior"},
    ),
    "crowdlab": Entry(
        "joint", "crowdml.crowdlab:CrowdlabTraining",
        "weighs the workers against a network's out-of-fold predictions", "Goh, Tkachenko, Mueller, arXiv 2210.06812",
        learner_options={"target": "posterior"},
    ),
}  # fmt: skip

ALIASES = {"dawid_skene": "em", "majority_vote": "mv", "zencrowd": "one_coin"}
"""Other names that users know a method by."""


@dataclass(frozen=True)
class Method:
    """A resolved method: `source` gives the labels, `learner` learns from them.

    `source_is_joint` says that the source trains networks itself, as LABNET does.
    """

    source: Any
    learner: Any
    source_is_joint: bool


def resolve(name: str, options: Mapping[str, Any] | None = None, *, labels_only: bool = False) -> Method:
    """Import and configure a method.

    Args:
        name: `source`, or `source+learner`; the learner of a source alone is `base`.
        options: fields of the source or of the learner; each must belong to exactly one of the two.
        labels_only: leave the learner out (None), which spares the import of torch.

    Raises:
        UnknownNameError: a name or an option that there is not.
    """
    source_entry, learner_entry = _entries(name)
    source_class = _load(source_entry.target)
    chosen = {source_class: dict(source_entry.options)}
    if not labels_only:
        learner_class = _load(learner_entry.target)
        known = _option_names(learner_class)
        suggested = {option: value for option, value in source_entry.learner_options.items() if option in known}
        chosen[learner_class] = {**suggested, **learner_entry.options}
    for option, value in (options or {}).items():
        owners = [part for part in chosen if option in _option_names(part)]
        if not owners:
            check_name(f"option of method {name}", option, [known for part in chosen for known in _option_names(part)])
        if len(owners) > 1:
            raise UnknownNameError(f"option {option!r} of method {name} belongs to both its parts")
        chosen[owners[0]][option] = value
    source, *learner = (part(**values) for part, values in chosen.items())
    return Method(source, learner[0] if learner else None, source_entry.kind == "joint")


def canonical(name: str) -> str:
    """The method's name in the registry, from that or an alias; imports nothing of it.

    Raises:
        UnknownNameError: neither.
    """
    _entries(name)
    source, plus, learner = name.partition("+")
    return ALIASES.get(source, source) + plus + learner


def trains_networks_itself(name: str) -> bool:
    """Whether the method's label source needs a network, as LABNET does."""
    return _entries(name)[0].kind == "joint"


def version(name: str) -> str:
    """The version of a method's parts, as it enters a cell's id."""
    return "+".join(str(entry.version) for entry in _entries(name))


def _entries(name: str) -> tuple[Entry, Entry]:
    source_name, plus, learner_name = name.partition("+")
    sources = [key for key, entry in REGISTRY.items() if entry.kind != "learner"]
    learners = [key for key, entry in REGISTRY.items() if entry.kind == "learner"]
    if ":" in source_name:
        source = _foreign(source_name)
    else:
        check_name("method", source_name, [*sources, *ALIASES])
        source = REGISTRY[ALIASES.get(source_name, source_name)]
    learner = REGISTRY[check_name("learner", learner_name, learners) if plus else "base"]
    return source, learner


def _foreign(target: str) -> Entry:
    """The entry of a class that is not in the registry."""
    fit = getattr(_load(target), "fit", None)
    if fit is None:
        raise UnknownNameError(f"method class {target!r} has no fit(crowd, prior=None)")
    kind: Kind = "joint" if "task" in inspect.signature(fit).parameters else "aggregator"
    return Entry(kind, target, "your own", "your own")


def _load(target: str) -> type:
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownNameError(f"cannot load method class {target!r}: {error}") from error


def _option_names(part: type) -> list[str]:
    return [item.name for item in fields(part) if item.init]
