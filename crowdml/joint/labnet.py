"""LABNET: alternate between training a network and aggregating the labels.

Ghiassi, Birke, Chen, "LABNET: A Collaborative Method for DNN Training and Label Aggregation", VISAPP 2022,
Algorithm 1, in this interpretation: The labels start from the majority vote.  Each iteration has four steps:

1. Train the network if its mean loss on the labels has grown (Eq. 7).  H_0 = 0, so the first two iterations train.
2. Set the class prior to the network's mean prediction (Eq. 2), or to the share of each class among the labels if the
   network was not trained.
3. Count the workers' confusion matrices from the labels.
4. Infer the labels again.

The paper calls step 3 the E-step and step 4 the M-step; usually, step 3 is the M-step and step 4 the E-step.

`prior="instance"` uses the network's prediction for an item as the prior of that item, as in MBEM (Khetan, Lipton,
Anandkumar, ICLR 2018).  These predictions come from networks that were trained on other folds, because a network
memorises the noise of its training items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn

from crowdml.aggregation.aggregator import TieRule, vote_shares
from crowdml.aggregation.dawid_skene import DawidSkene
from crowdml.aggregation.inference.confusion import FLOOR, estimate_confusion, infer_posterior, normalise_log, one_hot
from crowdml.joint.joint_result import JointResult
from crowdml.joint.out_of_fold import JointTrainer
from crowdml.labels import CrowdLabels
from crowdml.learning.learner import Learner
from crowdml.learning.task import Task
from crowdml.support.search_space import Choice, Float, Space, Whole


@dataclass(frozen=True)
class Labnet(TieRule):
    """LABNET: alternate between training a network and aggregating the labels.

    Args:
        ties, seed: see TieRule.
        prior: "class" (the paper) uses one class prior for all items, "instance" one prior per item from out-of-fold
            predictions.
        init: first labels: "majority" (the paper), or "em", the posterior of soft Dawid-Skene at convergence.
        hard: infer one class per item (the paper) instead of a posterior.
        refresh_counts: count the confusion matrices from the current labels in every iteration.  False keeps the
            matrices of the first labels, as in the printed algorithm of the paper.
        max_iter: largest number of iterations.
        smoothing: value that is added to every entry of the workers' counts.
        reinit: start every training from a fresh network instead of continuing with the last one.
        final_training: train once more at the end if the labels have changed since the last training.
        folds: for the instance prior: number of parts into which the items are split.
        calibrate: for the instance prior: choose the temperature of the predictions that makes the annotations most
            likely.
    """

    prior: Literal["class", "instance"] = "class"
    init: Literal["majority", "em"] = "majority"
    hard: bool = True
    refresh_counts: bool = True
    max_iter: int = 10
    smoothing: float = 0.01
    reinit: bool = False
    final_training: bool = False
    folds: int = 3
    calibrate: bool = True

    SPACE: ClassVar[Space] = {
        "prior": Choice("class", "instance"),
        "init": Choice("majority", "em"),
        "hard": Choice(False, True),
        "refresh_counts": Choice(False, True),
        "max_iter": Whole(1, 20),
        "smoothing": Float(1e-4, 1, log=True),
        "reinit": Choice(False, True),
        "final_training": Choice(False, True),
        "folds": Whole(2, 5),
        "calibrate": Choice(False, True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior not in ("class", "instance"):
            raise ValueError(f'prior must be "class" or "instance", got {self.prior!r}')
        if self.max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        if not self.smoothing >= 0:
            raise ValueError(f"smoothing must not be negative, got {self.smoothing}")

    def fit(self, crowd: CrowdLabels, task: Task, learner: Learner) -> JointResult:
        """Alternate until the labels do not change and no training is due, or for `max_iter` iterations.

        The `objective` of the aggregation holds -H_t, the network's mean log-probability of the labels.
        """
        trainer = JointTrainer(learner, task)
        network = _Network(self, trainer)
        start = posterior = self._first_labels(crowd)
        probabilities = prior = confusion = np.empty(0)
        losses, due, converged = [0.0], True, False
        while len(losses) <= self.max_iter and not converged:
            trained = due
            if trained:
                probabilities = network.train_and_predict(posterior)
            label_probability = (posterior * np.log(np.maximum(probabilities, FLOOR))).sum(axis=1)
            losses.append(-float(label_probability.mean()))
            due = losses[-1] > losses[-2]
            confusion = estimate_confusion(crowd, posterior if self.refresh_counts else start, self.smoothing)
            if self.prior == "instance":
                prior = calibrated(crowd, confusion, probabilities) if self.calibrate else probabilities
            else:
                prior = probabilities.mean(axis=0) if trained else posterior.mean(axis=0)
            updated, _ = infer_posterior(crowd, confusion, prior)
            if self.hard:
                updated = one_hot(updated.argmax(axis=1), crowd.n_classes)
            settled = np.abs(updated - posterior).max() < 1e-5
            converged = bool(settled and not due and not trained)
            posterior = updated
        model = network.finish(posterior)
        values = [-loss for loss in losses[1:]]
        aggregation = self.conclude(
            crowd, posterior, prior, confusion=confusion, n_iter=len(values), converged=converged, objective=values
        )
        return trainer.result(aggregation, model)

    def _first_labels(self, crowd: CrowdLabels) -> NDArray[np.float64]:
        if self.init == "em":
            # EM starts from vote shares and runs to convergence.  With an early stop or hard labels at the start, EM
            # would keep systematic errors of the majority, and a network that learns these errors would confirm them.
            em = DawidSkene(smoothing=self.smoothing).fit(crowd)
            return one_hot(em.labels, crowd.n_classes) if self.hard else em.posterior
        return one_hot(vote_shares(crowd).argmax(axis=1), crowd.n_classes)


def calibrated(
    crowd: CrowdLabels, confusion: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return predictions (n_items, n_classes) at the temperature that makes the annotations most likely.

    The temperature T maximises sum_i log sum_c p_ic(T) prod_w A_w[c, l_iw], where p(T) is proportional to p ** (1 / T)
    for the predictions p (n_items, n_classes), and A are the workers' matrices.  This needs no true classes.
    """
    log_p = np.log(np.maximum(probabilities, FLOOR))
    # Likelihood of each item up to a factor that does not depend on the temperature.
    likelihood, _ = infer_posterior(crowd, confusion, np.ones(crowd.n_classes))

    def at(log_temperature: float) -> NDArray[np.float64]:
        return normalise_log(log_p * np.exp(-log_temperature))[0]

    def loss(log_temperature: float) -> float:
        return -float(np.log((at(log_temperature) * likelihood).sum(axis=1)).sum())

    best = minimize_scalar(loss, bounds=(np.log(0.2), np.log(20)), method="bounded", options={"xatol": 0.01})
    return at(best.x)  # pyright: ignore[reportAttributeAccessIssue]


class _Network:
    """The network of a LABNET run, and the labels that it was last trained on."""

    def __init__(self, options: Labnet, trainer: JointTrainer) -> None:
        self._options, self._trainer = options, trainer
        self._model: nn.Module | None = None
        self._trained_on: NDArray[np.float64] | None = None

    def train_and_predict(self, posterior: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._options.prior == "instance":
            return self._trainer.predict_out_of_fold(posterior, self._options.folds)
        return self._trainer.predict(self._train_on_all(posterior))

    def finish(self, posterior: NDArray[np.float64]) -> nn.Module:
        changed = self._trained_on is None or not np.array_equal(self._trained_on, posterior)
        if self._model is None or (self._options.final_training and changed):
            return self._train_on_all(posterior)
        return self._model

    def _train_on_all(self, posterior: NDArray[np.float64]) -> nn.Module:
        """Train the network on all items, from its current weights unless `reinit` is set."""
        self._model = self._trainer.train(posterior, model=None if self._options.reinit else self._model)
        self._trained_on = posterior
        return self._model
