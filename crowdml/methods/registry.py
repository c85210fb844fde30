"""The registry maps the name of a method to a class that aggregates labels or learns from labels.

To add a method, write a class in its own file (an aggregator in `crowdml/aggregation`, a learner in
`crowdml/learning/learners`).  Then add an entry with the name of the class to REGISTRY.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MethodKind = Literal["aggregator", "learner", "joint", "crowd"]


@dataclass(frozen=True)
class Entry:
    """An entry of the registry.

    Args:
        kind: "aggregator" (has fit(crowd) -> Aggregation), "learner" (has a loss on one label per item), "joint" (has
            fit(crowd, task, learner)) or "crowd" (has a loss on all annotations).
        target: the class as "module:Class", imported on first use, so that a list of the methods needs no torch.
        summary: one line that describes the method.
        paper: the source of the method.
        options: values that differ from the defaults of the class.
        learner_options: defaults for the learner that is combined with this source, if the learner has these options.
        two_classes_only: whether the method refuses crowds with more than two classes.
        version: increase the version when the results change; then only the cells of this method are computed again.
    """

    kind: MethodKind
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
    "mv": Entry("aggregator", "crowdml.aggregation.majority:MajorityVote",
        "majority vote, ties to the lowest class", "folklore"),
    "em": Entry("aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "Dawid-Skene EM, soft posteriors", _DAWID_SKENE),
    "em_hard": Entry("aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "Dawid-Skene EM, hard labels", _DAWID_SKENE, {"hard": True}),
    "em_map": Entry("aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "Dawid-Skene EM with a Dirichlet prior that expects right answers", _DAWID_SKENE,
        {"smoothing": 0.1, "diagonal": 1.0}),
    "class_one_coin": Entry("aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "Dawid-Skene EM, one accuracy per worker and class", "Zhang, Chen, Zhou, Jordan, JMLR 2016",
        {"worker_model": "class_one_coin"}),
    "one_coin": Entry("aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "ZenCrowd: EM with one accuracy per worker", "Demartini, Difallah, Cudre-Mauroux, WWW 2012",
        {"worker_model": "one_coin"}),
    "homogeneous": Entry("aggregator", "crowdml.aggregation.dawid_skene:DawidSkene",
        "Dawid-Skene EM, one confusion matrix for all workers", _DAWID_SKENE, {"worker_model": "homogeneous"}),
    "wawa": Entry("aggregator", "crowdml.aggregation.wawa:Wawa",
        "vote weighted by each worker's agreement with the vote", "folklore"),
    "zero_based_skill": Entry("aggregator", "crowdml.aggregation.zero_based_skill:ZeroBasedSkill",
        "alternates between weighted vote and weights, with a decreasing learning rate", "crowd-kit"),
    "glad": Entry("aggregator", "crowdml.aggregation.glad:Glad",
        "abilities of workers and difficulties of items", "Whitehill, Ruvolo, Wu, Bergsma, Movellan, NIPS 2009"),
    "mace": Entry("aggregator", "crowdml.aggregation.mace:Mace",
        "workers know the answer or spam, variational Bayes", "Hovy, Berg-Kirkpatrick, Vaswani, Hovy, NAACL 2013"),
    "kos": Entry("aggregator", "crowdml.aggregation.kos:Kos",
        "message passing between items and workers; 2 classes", "Karger, Oh, Shah, NIPS 2011", two_classes_only=True),
    "m_msr": Entry("aggregator", "crowdml.aggregation.m_msr:MMsr",
        "robust rank-one completion of the workers' agreement", "Ma, Olshevsky, NeurIPS 2020"),
    "spectral_em": Entry("aggregator", "crowdml.aggregation.spectral_em:SpectralEm",
        "Dawid-Skene EM, started from a spectral estimate", "Zhang, Chen, Zhou, Jordan, JMLR 2016"),
    "minimax_entropy": Entry("aggregator", "crowdml.aggregation.minimax.minimax_entropy:MinimaxEntropy",
        "regularised minimax entropy", "Zhou, Platt, Basu, Mao, NIPS 2012"),
    "minimax_conditional": Entry("aggregator", "crowdml.aggregation.minimax.minimax_conditional:MinimaxConditional",
        "minimax conditional entropy, one matrix per item", "Zhou, Liu, Platt, Meek, Shah, arXiv 1503.07240"),
    "minimax_ordinal": Entry("aggregator", "crowdml.aggregation.minimax.minimax_ordinal:MinimaxOrdinal",
        "minimax conditional entropy for ordered classes", "Zhou, Liu, Platt, Meek, ICML 2014"),
    "minimax_cv": Entry("aggregator", "crowdml.aggregation.minimax.minimax_cv:MinimaxCv",
        "minimax entropy, penalties chosen by cross-validation", "Zhou, Liu, Platt, Meek, Shah, arXiv 1503.07240"),
    "minimax_ordinal_cv": Entry("aggregator", "crowdml.aggregation.minimax.minimax_cv:MinimaxCv",
        "minimax_cv for ordered classes", "Zhou, Liu, Platt, Meek, Shah, arXiv 1503.07240", {"form": "ordinal"}),
    "ibcc": Entry("aggregator", "crowdml.aggregation.ibcc:Ibcc",
        "Bayesian Dawid-Skene, variational", "Kim, Ghahramani, AISTATS 2012"),
    "cbcc": Entry("aggregator", "crowdml.aggregation.cbcc:Cbcc",
        "Bayesian Dawid-Skene with communities of workers", "Venanzi, Guiver, Kazai, Kohli, Shokouhi, WWW 2014"),
    "ebcc": Entry("aggregator", "crowdml.aggregation.ebcc:Ebcc",
        "Bayesian, with subtypes of classes, so that workers make errors together", "Li, Rubinstein, Cohn, ICML 2019"),
    "bwa": Entry("aggregator", "crowdml.aggregation.bwa:Bwa",
        "Bayesian weighted average of votes", "Li, Rubinstein, Cohn, WWW 2019"),
    "label_model": Entry("aggregator", "crowdml.aggregation.label_model:LabelModel",
        "Snorkel's label model, estimates workers from their agreement in pairs",
        "Ratner, Hancock, Dunnmon, Sala, Pandey, Re, AAAI 2019"),
    "laa": Entry("aggregator", "crowdml.aggregation.laa:Laa",
        "label-aware autoencoder LAA-B", "Yin, Han, Zhang, Yu, IJCAI 2017"),
    "bila": Entry("aggregator", "crowdml.aggregation.bila:Bila",
        "amortised variational inference of the Dawid-Skene model",
        "Hong, Ghiassi, Zhou, Birke, Chen, arXiv 1807.07291"),
    "base": Entry("learner", "crowdml.learning.learners.cross_entropy:CrossEntropy",
        "plain cross-entropy on the labels", "folklore", version=2),
    "nnaqc": Entry("learner", "crowdml.learning.learners.nnaqc:Nnaqc",
        "nonlinear noise model on the prediction, with quasi-clustering", _NNAQC),
    "nnaqc_dropout": Entry("learner", "crowdml.learning.learners.nnaqc:Nnaqc",
        "NNAQC with dropout in the noise model", _NNAQC, {"dropout": 0.3}),
    "nna": Entry("learner", "crowdml.learning.learners.nnaqc:Nnaqc",
        "only the noise model of NNAQC", _NNAQC, {"alpha": 1.0}),
    "qc": Entry("learner", "crowdml.learning.learners.nnaqc:Nnaqc",
        "only the quasi-clustering of NNAQC, with a constant target", _NNAQC, {"alpha": 0.0, "detach": True}),
    "dropout": Entry("learner", "crowdml.learning.learners.nnaqc:Nnaqc",
        "nonlinear noise model with dropout", "Jindal, Nokleby, Chen, ICDM 2016", {"alpha": 1.0, "dropout": 0.3}),
    "genie": Entry("learner", "crowdml.learning.learners.genie:Genie",
        "uses the true transition matrix; an upper bound, not a real method", _NNAQC),
    "genie_qc": Entry("learner", "crowdml.learning.learners.genie:Genie",
        "genie with the quasi-clustering of NNAQC", _NNAQC, {"alpha": 0.9}),
    "trace": Entry("learner", "crowdml.learning.learners.trace:TraceRegularised",
        "linear noise layer with a penalty on its trace",
        "Sukhbaatar, Bruna, Paluri, Bourdev, Fergus, ICLR workshop 2015"),
    "bootstrapping": Entry("learner", "crowdml.learning.learners.bootstrapping:Bootstrapping",
        "soft bootstrapping: 95 % label, 5 % prediction as target", _REED),
    "bootstrapping_hard": Entry("learner", "crowdml.learning.learners.bootstrapping:Bootstrapping",
        "hard bootstrapping: 80 % label, 20 % predicted class as target", _REED, {"hard": True, "trust": 0.8}),
    "forward": Entry("learner", "crowdml.learning.learners.correction:ForwardCorrection",
        "loss corrected forward by a transition matrix that a first network estimates", _PATRINI),
    "backward": Entry("learner", "crowdml.learning.learners.correction:BackwardCorrection",
        "losses corrected by the inverse of a transition matrix that a first network estimates", _PATRINI),
    "s_model": Entry("learner", "crowdml.learning.learners.noise_adaptation:SModel",
        "learned transition matrix after the softmax, started from the confusion of a baseline",
        "Goldberger, Ben-Reuven, ICLR 2017"),
    "c_model": Entry("learner", "crowdml.learning.learners.noise_adaptation:CModel",
        "transition matrix that depends on the hidden features, trained after s_model",
        "Goldberger, Ben-Reuven, ICLR 2017"),
    "s_model_em": Entry("learner", "crowdml.learning.learners.noise_adaptation_em:SModelEm",
        "s_model by EM: alternates between true classes, transition matrix and network",
        "Bekker, Goldberger, ICASSP 2016"),
    "gce": Entry("learner", "crowdml.learning.learners.gce:GeneralisedCrossEntropy",
        "loss between cross-entropy and mean absolute error", "Zhang, Sabuncu, NeurIPS 2018"),
    "sce": Entry("learner", "crowdml.learning.learners.sce:SymmetricCrossEntropy",
        "cross-entropy plus reverse cross-entropy", "Wang, Ma, Chen, Luo, Yi, Bailey, ICCV 2019"),
    "elr": Entry("learner", "crowdml.learning.learners.elr:EarlyLearningRegularisation",
        "keeps the predictions of early training", "Liu, Niles-Weed, Razavian, Fernandez-Granda, NeurIPS 2020"),
    "jocor": Entry("learner", "crowdml.learning.learners.several_networks:JoCoR",
        "two networks that must agree, trained on items with a small joint loss", "Wei, Feng, Chen, An, CVPR 2020"),
    "jocor3": Entry("learner", "crowdml.learning.learners.several_networks:JoCoR",
        "JoCoR with three networks, each pair compared in both directions", "Fazekas, Forian, Barta",
        {"n_networks": 3}),
    "jocor3_circular": Entry("learner", "crowdml.learning.learners.several_networks:JoCoR",
        "JoCoR with three networks, each compared with the next", "Fazekas, Forian, Barta",
        {"n_networks": 3, "graph": "circular"}),
    "jocor3_ce": Entry("learner", "crowdml.learning.learners.several_networks:JoCoR",
        "JoCoR with three networks, compared by cross-entropy", "Fazekas, Forian, Barta",
        {"n_networks": 3, "divergence": "ce", "lambda_": 0.5}),
    "co_teaching": Entry("learner", "crowdml.learning.learners.co_teaching:CoTeaching",
        "two networks, each trained on the items for which the other has a small loss",
        "Han, Yao, Yu, Niu, Xu, Hu, Tsang, Sugiyama, NeurIPS 2018"),
    "co_teaching_plus": Entry("learner", "crowdml.learning.learners.co_teaching:CoTeachingPlus",
        "co_teaching on items where the networks disagree", "Yu, Han, Yao, Niu, Tsang, Sugiyama, ICML 2019"),
    "decoupling": Entry("learner", "crowdml.learning.learners.co_teaching:Decoupling",
        "two networks, trained on items where they disagree", "Malach, Shalev-Shwartz, NIPS 2017"),
    "divide_mix": Entry("learner", "crowdml.learning.learners.divide_mix:DivideMix",
        "two networks separate clean and noisy items by loss; semi-supervised learning", "Li, Socher, Hoi, ICLR 2020"),
    "labnet": Entry("joint", "crowdml.joint.labnet:Labnet",
        "alternates network and Dawid-Skene, with the network's class prior", "Ghiassi, Birke, Chen, VISAPP 2022"),
    "labnet_instance": Entry("joint", "crowdml.joint.labnet:Labnet",
        "LABNET with the network's out-of-fold predictions as the priors of items",
        "this project, after Khetan, Lipton, Anandkumar, ICLR 2018",
        {"prior": "instance", "init": "em", "hard": False, "final_training": True},
        learner_options={"target": "posterior"}),
    "crowdlab": Entry("joint", "crowdml.joint.crowdlab:CrowdlabTraining",
        "weights workers by comparison with a network's out-of-fold predictions",
        "Goh, Tkachenko, Mueller, arXiv 2210.06812", learner_options={"target": "posterior"}),
    "crowdlayer": Entry("crowd", "crowdml.learning.crowd.crowdlayer:CrowdLayer",
        "one free linear layer per worker after the softmax", "Rodrigues, Pereira, AAAI 2018"),
    "ccem": Entry("crowd", "crowdml.learning.crowd.ccem:Ccem",
        "coupled cross-entropy: network and workers' matrices fit every annotation", "Ibrahim, Nguyen, Fu, ICLR 2023"),
    "geocrowdnet_f": Entry("crowd", "crowdml.learning.crowd.geocrowdnet:GeoCrowdNet",
        "coupled cross-entropy that spreads predictions over the simplex", "Ibrahim, Nguyen, Fu, ICLR 2023",
        {"volume": "F"}),
    "geocrowdnet_w": Entry("crowd", "crowdml.learning.crowd.geocrowdnet:GeoCrowdNet",
        "coupled cross-entropy that spreads the workers' matrices", "Ibrahim, Nguyen, Fu, ICLR 2023", {"volume": "W"}),
    "trace_reg": Entry("crowd", "crowdml.learning.crowd.trace_reg:TraceReg",
        "coupled cross-entropy with a penalty on the trace of the workers' matrices",
        "Tanno, Saeedi, Sankaranarayanan, Alexander, Silberman, CVPR 2019"),
    "mbem": Entry("crowd", "crowdml.learning.crowd.mbem:Mbem",
        "alternates: estimates workers' matrices from predictions, trains on posteriors",
        "Khetan, Lipton, Anandkumar, ICLR 2018"),
    "max_mig": Entry("crowd", "crowdml.learning.crowd.max_mig:MaxMig",
        "maximises the mutual information of a network and an aggregator", "Cao, Xu, Kong, Wang, ICLR 2019"),
    "conal": Entry("crowd", "crowdml.learning.crowd.conal:Conal",
        "separates shared confusion from the confusion of each worker", "Chu, Ma, Wang, AAAI 2021"),
    "union_net": Entry("crowd", "crowdml.learning.crowd.union_net:UnionNet",
        "one joint distribution over the labels of all workers", "Wei, Xie, Feng, Han, An, IEEE TNNLS 2022"),
    "doctor_net": Entry("crowd", "crowdml.learning.crowd.doctor_net:DoctorNet",
        "one classifier per worker, then learned weights to average them", "Guan, Gulshan, Dai, Hinton, AAAI 2018"),
    "agg_net": Entry("crowd", "crowdml.learning.crowd.agg_net:AggNet",
        "EM with a network; infers the posterior again before each epoch",
        "Albarqouni, Baur, Achilles, Belagiannis, Demirci, Navab, IEEE TMI 2016"),
}  # fmt: skip

ALIASES = {"dawid_skene": "em", "majority_vote": "mv", "zencrowd": "one_coin"}
"""Other names of methods."""
