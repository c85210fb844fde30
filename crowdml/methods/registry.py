"""The registry of methods: a name in a grid -> what aggregates the labels, or what learns from them.

To add a method: write its file and add its line here.  `crowdml.methods.configure` puts the parts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["aggregator", "learner", "joint", "crowd"]


@dataclass(frozen=True)
class Entry:
    """One line of the registry.

    Args:
        kind: "aggregator" (fit(crowd) -> Aggregation), "learner" (a loss on single labels), "joint" (fit(crowd, task,
            learner)) or "crowd" (a loss on all annotations).
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
_NNAQC = "Jindal, Nokleby, Pressel, Chen, CVPR workshops 2019"
_REED = "Reed, Lee, Anguelov, Szegedy, Erhan, Rabinovich, ICLR workshop 2015"
_PATRINI = "Patrini, Rozza, Menon, Nock, Qu, CVPR 2017"

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
        "aggregator", "crowdml.aggregation.minimax.minimax_entropy:MinimaxEntropy",
        "regularised minimax entropy", "Zhou, Platt, Basu, Mao, NIPS 2012",
    ),
    "minimax_conditional": Entry(
        "aggregator", "crowdml.aggregation.minimax.minimax_conditional:MinimaxConditional",
        "minimax conditional entropy, a matrix an item", "Zhou, Liu, Platt, Meek, Shah, arXiv 1503.07240",
    ),
    "minimax_ordinal": Entry(
        "aggregator", "crowdml.aggregation.minimax.minimax_ordinal:MinimaxOrdinal",
        "minimax conditional entropy for ordered classes", "Zhou, Liu, Platt, Meek, ICML 2014",
    ),
    "minimax_cv": Entry(
        "aggregator", "crowdml.aggregation.minimax.minimax_cv:MinimaxCv",
        "minimax entropy, penalties chosen by cross-validation", "Zhou, Liu, Platt, Meek, Shah, arXiv 1503.07240",
    ),
    "minimax_ordinal_cv": Entry(
        "aggregator", "crowdml.aggregation.minimax.minimax_cv:MinimaxCv",
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
        "learner", "crowdml.learning.learners.cross_entropy:CrossEntropy",
        "plain cross-entropy on the labels it is given", "folklore", version=2,
    ),
    "nnaqc": Entry(
        "learner", "crowdml.learning.learners.nnaqc:Nnaqc",
        "nonlinear noise model on the prediction, and quasi-clustering", _NNAQC,
    ),
    "nnaqc_dropout": Entry(
        "learner", "crowdml.learning.learners.nnaqc:Nnaqc",
        "NNAQC with dropout in the noise model", _NNAQC, {"dropout": 0.3},
    ),
    "nna": Entry(
        "learner", "crowdml.learning.learners.nnaqc:Nnaqc",
        "NNAQC's noise model alone", _NNAQC, {"alpha": 1.0},
    ),
    "qc": Entry(
        "learner", "crowdml.learning.learners.nnaqc:Nnaqc",
        "NNAQC's quasi-clustering alone, its target held fixed", _NNAQC, {"alpha": 0.0, "detach": True},
    ),
    "dropout": Entry(
        "learner", "crowdml.learning.learners.nnaqc:Nnaqc",
        "nonlinear noise model with dropout", "Jindal, Nokleby, Chen, ICDM 2016", {"alpha": 1.0, "dropout": 0.3},
    ),
    "genie": Entry(
        "learner", "crowdml.learning.learners.genie:Genie",
        "is told the true transition matrix; a bound, no method", _NNAQC,
    ),
    "genie_qc": Entry(
        "learner", "crowdml.learning.learners.genie:Genie",
        "the genie with NNAQC's quasi-clustering", _NNAQC, {"alpha": 0.9},
    ),
    "trace": Entry(
        "learner", "crowdml.learning.learners.trace:TraceRegularised",
        "linear noise layer, learned with a penalty on its trace",
        "Sukhbaatar, Bruna, Paluri, Bourdev, Fergus, ICLR workshop 2015",
    ),
    "bootstrapping": Entry(
        "learner", "crowdml.learning.learners.bootstrapping:Bootstrapping",
        "soft bootstrapping: 95 % label, 5 % prediction as target", _REED,
    ),
    "bootstrapping_hard": Entry(
        "learner", "crowdml.learning.learners.bootstrapping:Bootstrapping",
        "hard bootstrapping: 80 % label, 20 % predicted class as target", _REED, {"hard": True, "trust": 0.8},
    ),
    "forward": Entry(
        "learner", "crowdml.learning.learners.correction:ForwardCorrection",
        "loss after a transition matrix read off a first network", _PATRINI,
    ),
    "backward": Entry(
        "learner", "crowdml.learning.learners.correction:BackwardCorrection",
        "losses mixed by the inverse of a transition matrix read off a first network", _PATRINI,
    ),
    "s_model": Entry(
        "learner", "crowdml.learning.learners.noise_adaptation:SModel",
        "a learned transition matrix after the softmax, started from a baseline's confusion",
        "Goldberger, Ben-Reuven, ICLR 2017",
    ),
    "c_model": Entry(
        "learner", "crowdml.learning.learners.noise_adaptation:CModel",
        "a transition matrix that depends on the hidden features, trained after the s-model",
        "Goldberger, Ben-Reuven, ICLR 2017",
    ),
    "s_model_em": Entry(
        "learner", "crowdml.learning.learners.noise_adaptation_em:SModelEm",
        "the s-model by EM: infers the true classes, counts the matrix, trains the network, in turns",
        "Bekker, Goldberger, ICASSP 2016",
    ),
    "gce": Entry(
        "learner", "crowdml.learning.learners.gce:GeneralisedCrossEntropy",
        "a loss between cross-entropy and the mean absolute error", "Zhang, Sabuncu, NeurIPS 2018",
    ),
    "sce": Entry(
        "learner", "crowdml.learning.learners.sce:SymmetricCrossEntropy",
        "cross-entropy and its reverse", "Wang, Ma, Chen, Luo, Yi, Bailey, ICCV 2019",
    ),
    "elr": Entry(
        "learner", "crowdml.learning.learners.elr:EarlyLearningRegularisation",
        "holds on to what the network predicted early", "Liu, Niles-Weed, Razavian, Fernandez-Granda, NeurIPS 2020",
    ),
    "jocor": Entry(
        "learner", "crowdml.learning.learners.several_networks:JoCoR",
        "two networks that must agree, on the items of small joint loss", "Wei, Feng, Chen, An, CVPR 2020",
    ),
    "jocor3": Entry(
        "learner", "crowdml.learning.learners.several_networks:JoCoR",
        "JoCoR with three networks, each pair compared both ways", "Fazekas, Forian, Barta", {"n_networks": 3},
    ),
    "jocor3_circular": Entry(
        "learner", "crowdml.learning.learners.several_networks:JoCoR",
        "JoCoR with three networks, each compared with the next", "Fazekas, Forian, Barta",
        {"n_networks": 3, "graph": "circular"},
    ),
    "jocor3_ce": Entry(
        "learner", "crowdml.learning.learners.several_networks:JoCoR",
        "JoCoR with three networks, compared by cross-entropy", "Fazekas, Forian, Barta",
        {"n_networks": 3, "divergence": "ce", "lambda_": 0.5},
    ),
    "co_teaching": Entry(
        "learner", "crowdml.learning.learners.co_teaching:CoTeaching",
        "two networks, each trained on the other's items of small loss",
        "Han, Yao, Yu, Niu, Xu, Hu, Tsang, Sugiyama, NeurIPS 2018",
    ),
    "co_teaching_plus": Entry(
        "learner", "crowdml.learning.learners.co_teaching:CoTeachingPlus",
        "Co-teaching on the items on which the networks disagree", "Yu, Han, Yao, Niu, Tsang, Sugiyama, ICML 2019",
    ),
    "decoupling": Entry(
        "learner", "crowdml.learning.learners.co_teaching:Decoupling",
        "two networks, trained where they disagree", "Malach, Shalev-Shwartz, NIPS 2017",
    ),
    "divide_mix": Entry(
        "learner", "crowdml.learning.learners.divide_mix:DivideMix",
        "two networks part the items by loss; semi-supervised learning on the rest", "Li, Socher, Hoi, ICLR 2020",
    ),
    "labnet": Entry(
        "joint", "crowdml.joint.labnet:Labnet",
        "alternates network and Dawid-Skene, class prior from the network", "Ghiassi, Birke, Chen, VISAPP 2022",
    ),
    "labnet_instance": Entry(
        "joint", "crowdml.joint.labnet:Labnet",
        "LABNET with the network's out-of-fold prediction as each item's prior",
        "this project, after Khetan, Lipton, Anandkumar, ICLR 2018",
        {"prior": "instance", "init": "em", "hard": False, "final_training": True},
        learner_options={"target": "posterior"},
    ),
    "crowdlab": Entry(
        "joint", "crowdml.joint.crowdlab:CrowdlabTraining",
        "weighs the workers against a network's out-of-fold predictions", "Goh, Tkachenko, Mueller, arXiv 2210.06812",
        learner_options={"target": "posterior"},
    ),
    "crowdlayer": Entry(
        "crowd", "crowdml.learning.crowd.crowdlayer:CrowdLayer",
        "a free layer for each worker on top of the softmax", "Rodrigues, Pereira, AAAI 2018",
    ),
    "ccem": Entry(
        "crowd", "crowdml.learning.crowd.ccem:Ccem",
        "network and workers' matrices fit every annotation: coupled cross-entropy",
        "Ibrahim, Nguyen, Fu, ICLR 2023",
    ),
    "geocrowdnet_f": Entry(
        "crowd", "crowdml.learning.crowd.geocrowdnet:GeoCrowdNet",
        "coupled cross-entropy that spreads the predictions over the simplex", "Ibrahim, Nguyen, Fu, ICLR 2023",
        {"volume": "F"},
    ),
    "geocrowdnet_w": Entry(
        "crowd", "crowdml.learning.crowd.geocrowdnet:GeoCrowdNet",
        "coupled cross-entropy that spreads the workers' matrices", "Ibrahim, Nguyen, Fu, ICLR 2023",
        {"volume": "W"},
    ),
    "trace_reg": Entry(
        "crowd", "crowdml.learning.crowd.trace_reg:TraceReg",
        "coupled cross-entropy with a penalty on the trace of the workers' matrices",
        "Tanno, Saeedi, Sankaranarayanan, Alexander, Silberman, CVPR 2019",
    ),
    "mbem": Entry(
        "crowd", "crowdml.learning.crowd.mbem:Mbem",
        "trains on posteriors under matrices that its own predictions give", "Khetan, Lipton, Anandkumar, ICLR 2018",
    ),
    "max_mig": Entry(
        "crowd", "crowdml.learning.crowd.max_mig:MaxMig",
        "network and aggregator of the annotations share as much information as they can",
        "Cao, Xu, Kong, Wang, ICLR 2019",
    ),
    "conal": Entry(
        "crowd", "crowdml.learning.crowd.conal:Conal",
        "confusion that the workers share beside each one's own", "Chu, Ma, Wang, AAAI 2021",
    ),
    "union_net": Entry(
        "crowd", "crowdml.learning.crowd.union_net:UnionNet",
        "one distribution over the labels of all workers together", "Wei, Xie, Feng, Han, An, IEEE TNNLS 2022",
    ),
    "doctor_net": Entry(
        "crowd", "crowdml.learning.crowd.doctor_net:DoctorNet",
        "a classifier for each worker, then weights to average them", "Guan, Gulshan, Dai, Hinton, AAAI 2018",
    ),
    "agg_net": Entry(
        "crowd", "crowdml.learning.crowd.agg_net:AggNet",
        "EM with a network, the posterior inferred anew before each epoch",
        "Albarqouni, Baur, Achilles, Belagiannis, Demirci, Navab, IEEE TMI 2016",
    ),
}  # fmt: skip

ALIASES = {"dawid_skene": "em", "majority_vote": "mv", "zencrowd": "one_coin"}
"""Other names that users know a method by."""
