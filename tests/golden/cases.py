"""What the golden record holds: the cases as plain data, how each is computed, and what is read of its result.

A case is a key and plain values.  `build_cell` alone knows how a Cell is made.  `read_result` and `read_aggregation`
alone know what results look like.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from crowdml import methods
from crowdml.aggregation import Aggregation
from crowdml.datasets import CrowdData, ImageData, TrainTest, load_images
from crowdml.experiment.cell import Cell, cell_of
from crowdml.experiment.crowd import cell_crowd
from crowdml.experiment.result import CellResult
from crowdml.experiment.run_cell import run_cell
from crowdml.labels import CrowdLabels
from crowdml.learning.recipe import Recipe

Values = dict[str, Any]

AGGREGATORS = (
    "mv", "em", "em_hard", "em_map", "class_one_coin", "one_coin", "homogeneous", "wawa", "zero_based_skill", "glad",
    "mace", "kos", "m_msr", "spectral_em", "minimax_entropy", "minimax_conditional", "minimax_ordinal", "minimax_cv",
    "minimax_ordinal_cv", "ibcc", "cbcc", "ebcc", "bwa", "label_model", "laa", "bila",
)  # fmt: skip
TRAINING = (
    "base", "nnaqc", "nnaqc_dropout", "nna", "qc", "dropout", "genie", "genie_qc", "trace", "bootstrapping",
    "bootstrapping_hard", "forward", "backward", "s_model", "c_model", "s_model_em", "gce", "sce", "elr", "jocor",
    "jocor3", "jocor3_circular", "jocor3_ce", "co_teaching", "co_teaching_plus", "decoupling", "divide_mix", "labnet",
    "labnet_instance", "crowdlab", "crowdlayer", "ccem", "geocrowdnet_f", "geocrowdnet_w", "trace_reg", "mbem",
    "max_mig", "conal", "union_net", "doctor_net", "agg_net",
)  # fmt: skip
COMPOSITES = (
    "em+base", "em+nnaqc", "glad+jocor", "ibcc+sce", "mv+s_model", "labnet+gce", "labnet+nnaqc",
    "labnet_instance+gce", "crowdlab+forward",
)  # fmt: skip

BINARY, FEATURES = "bluebird", "music"
"""Names of real crowds, which made-up crowds of the same kind stand in for: the real files need a network."""

SIMULATED: Values = {
    "dataset": "digits", "pattern": "uniform", "noise_rate": 0.5, "n_workers": 3, "missing_rate": 0.0, "seed": 0,
    "n_train": 120,
}  # fmt: skip
REAL: Values = {"dataset": BINARY, "pattern": "real", "missing_rate": 0.0, "seed": 0}

LABEL_SETTINGS: dict[str, Values] = {
    "uniform-3": SIMULATED,
    "bimodal-5": {**SIMULATED, "pattern": "bimodal", "noise_rate": 0.6, "n_workers": 5, "missing_rate": 0.3},
    "flip-5": {
        **SIMULATED, "pattern": "flip", "noise_rate": 0.4, "n_workers": 5, "missing_rate": 0.3, "missing": "bernoulli",
        "seed": 1,
    },
    "beta-4": {
        **SIMULATED, "n_workers": 4, "worker_model": "beta_ability", "worker_options": {"concentration": 3},
    },
    "balanced-8": {
        **SIMULATED, "n_workers": 8, "assignment": "balanced", "assignment_options": {"labels_per_item": 3},
    },
    "real-binary": REAL,
    "real-binary-thinned": {**REAL, "n_workers": 6, "missing_rate": 0.3, "seed": 2},
}  # fmt: skip

_CROWD: Values = {**SIMULATED, "n_workers": 6, "method": "mv"}
CROWD_SETTINGS: dict[str, Values] = {
    **{
        f"pattern-{name}": {**_CROWD, "pattern": name}
        for name in (
            "uniform", "bimodal", "flip", "symmetric", "pair", "permutation", "random_simplex", "item_difficulty",
        )
    },
    "pattern-asymmetric": {**_CROWD, "pattern": "asymmetric", "pattern_options": {"pairs": ((7, 1), (3, 8))}},
    **{
        f"workers-{name}": {**_CROWD, "worker_model": name, "seed": 3}
        for name in (
            "homogeneous", "hammer_spammer", "beta_ability", "experts_among_beginners", "colluding_copies",
            "adversaries", "class_wise_experts", "random", "diagonally_dominant", "separable_uniform",
            "separable_random",
        )
    },
    **{
        f"missing-{rule}": {**_CROWD, "missing_rate": 0.3, "missing": rule} for rule in ("floor", "round", "bernoulli")
    },
    "balanced-missing": {
        **_CROWD, "assignment": "balanced", "assignment_options": {"labels_per_item": 4}, "missing_rate": 0.3,
    },
    "power-law": {
        **_CROWD, "assignment": "power_law", "assignment_options": {"labels_per_item": 3, "exponent": 1.5},
        "pattern": "item_difficulty",
    },
    "power-law-missing": {
        **_CROWD, "assignment": "power_law", "assignment_options": {"labels_per_item": 4}, "missing_rate": 0.4,
        "missing": "bernoulli", "worker_model": "colluding_copies",
    },
    "all-items": {**_CROWD, "n_train": None},
    "another-seed": {**_CROWD, "seed": 12345},
    "machines-4": {
        **_CROWD, "pattern": "machine_annotators", "noise_rate": None, "n_workers": 4, "missing_rate": 0.3,
    },
    "machines-experts": {
        **_CROWD, "pattern": "machine_annotators", "noise_rate": None, "n_workers": 6,
        "pattern_options": {"expert_images": 600}, "assignment": "balanced",
        "assignment_options": {"labels_per_item": 3},
    },
}  # fmt: skip
"""Crowds that the other sections do not have, each judged by the majority vote."""

RECIPE: Values = {"epochs": 1, "batch_size": 16, "lr": 0.05, "weight_decay": 1e-4}
_TRAINED: Values = {**SIMULATED, "noise_rate": 0.4, "network": "cnn_digits", "recipe": RECIPE, "n_train": 200}
_MACHINES: Values = {**_TRAINED, "pattern": "machine_annotators", "noise_rate": None, "n_workers": 4}
_REAL_FEATURES: Values = {**REAL, "dataset": FEATURES, "network": "mlp128_bn", "recipe": RECIPE}

TRAINED_SETTINGS: dict[str, Values] = {
    "uniform-3": _TRAINED,
    "bimodal-5": {
        **_TRAINED, "pattern": "bimodal", "n_workers": 5, "missing_rate": 0.3, "network": "mlp256", "seed": 1,
    },
    # The phases that come after the first epoch are reached here, with the options of LATE.
    "flip-3-longer": {**_TRAINED, "pattern": "flip", "recipe": {**RECIPE, "epochs": 3}, "n_train": 120},
}  # fmt: skip
"""Crowds and recipes that every training method goes with."""
LATE: dict[str, Values] = {
    "trace": {"warm_up": 0.3},
    "s_model_em": {"max_iter": 2},
    "gce": {"truncation": 0.5, "first_pruning": 1, "prune_every": 1},
    **{name: {"n_gradual": 2} for name in ("jocor", "jocor3", "jocor3_circular", "jocor3_ce", "co_teaching")},
    "co_teaching_plus": {"n_gradual": 2, "n_warm_up": 1},
    "divide_mix": {"n_warm_up": 1, "n_ramp": 2},
    "mbem": {"rounds": 2},
    "doctor_net": {"averaging_epochs": 2},
    "trace_reg": {"warm_up": 0.5},
}
FURTHER_TRAINED: dict[str, tuple[Values, tuple[str, ...]]] = {
    "machines-4": (_MACHINES, ("em+nnaqc", "base", "ccem", "labnet", "crowdlab")),
    "real-features": (_REAL_FEATURES, ("em", "ccem", "labnet", "crowdlab", "glad+jocor")),
}
"""Crowds that some training methods go with."""

_LONG: Values = {**RECIPE, "epochs": 3}
RECIPES: dict[str, Values] = {
    "keep-best": {**_LONG, "validation": 0.25, "keep": "best"},
    "patience": {**_LONG, "epochs": 6, "lr": 0.3, "validation": 0.2, "patience": 1, "keep": "best"},
    "validation-keep-last": {**_LONG, "validation": 0.25},
    "augment-crop_flip": {**RECIPE, "augment": "crop_flip"},
    "augment-crop": {**RECIPE, "augment": "crop"},
    "augment-flip": {**RECIPE, "augment": "flip"},
    "schedule-cosine": {**_LONG, "schedule": "cosine"},
    "schedule-one_cycle": {**_LONG, "schedule": "one_cycle"},
    "schedule-linear": {**_LONG, "schedule": "linear", "decay_from": 1, "late_momentum": 0.1},
    "schedule-step": {**_LONG, "milestones": (1, 2), "lr_decay": 0.5},
    "optimizer-adam": {**RECIPE, "optimizer": "adam", "lr": 0.003},
    "optimizer-adamw": {**RECIPE, "optimizer": "adamw", "lr": 0.003},
    "optimizer-radam": {**RECIPE, "optimizer": "radam", "lr": 0.003},
    "inputs-unit": {**RECIPE, "inputs": "unit"},
    "inputs-whitened": {**RECIPE, "inputs": "whitened"},
}
RECIPE_METHODS = ("base", "em+nnaqc", "jocor", "ccem", "labnet")

OPTIONS: dict[str, Values] = {
    "target-posterior": {**_TRAINED, "method": "em+nnaqc", "method_options": {"target": "posterior"}},
    "target-posterior-plain": {**_TRAINED, "method": "em", "method_options": {"target": "posterior"}},
    "target-posterior-jocor": {**_TRAINED, "method": "glad+jocor", "method_options": {"target": "posterior"}},
    "labnet-reinit": {**_TRAINED, "method": "labnet", "method_options": {"reinit": True, "max_iter": 2}},
    "labnet-final": {**_TRAINED, "method": "labnet", "method_options": {"final_training": True, "hard": False}},
    "crowdlayer-vw": {**_TRAINED, "method": "crowdlayer", "method_options": {"form": "VW"}},
    "ties-first": {**SIMULATED, "method": "mv", "method_options": {"ties": "first"}},
    "ties-random": {**SIMULATED, "method": "mv", "method_options": {"ties": "random", "seed": 3}},
    "ties-random-em_hard": {**SIMULATED, "method": "em_hard", "method_options": {"ties": "random", "seed": 3}},
}
"""Options of methods, a cell each."""

DIRECT = ("binary", "gold", "history", "prior", "item-prior", "uneven")
"""Crowds that a cell cannot have, see `direct_crowd`."""

NETWORK_AGGREGATORS = ("laa", "bila")
"""Aggregators that train a network, so that they depend on the processor as training does."""


@dataclass(frozen=True)
class Case:
    """One computation of the record.

    Args:
        key: its name in the record, "section/setting/method".
        test: the test that it belongs to, "section/method" or "section/setting".
        values: of its cell; of a direct fit the method alone.
        direct: name of the crowd of a direct fit, else None.
    """

    key: str
    test: str
    values: Values
    direct: str | None = None

    @property
    def trains(self) -> bool:
        """Whether its values come from networks."""
        return "network" in self.values or self.values["method"] in NETWORK_AGGREGATORS


def all_cases() -> dict[str, Case]:
    """Every case by its key."""
    cases = []
    for method in AGGREGATORS:
        for setting, values in LABEL_SETTINGS.items():
            cases.append(Case(f"labels/{setting}/{method}", f"labels/{method}", {**values, "method": method}))
        for name in DIRECT:
            cases.append(Case(f"direct/{name}/{method}", f"labels/{method}", {"method": method}, direct=name))
    for setting, values in CROWD_SETTINGS.items():
        cases.append(Case(f"crowds/{setting}/{values['method']}", f"crowds/{setting}", values))
    for method in (*TRAINING, *COMPOSITES):
        for setting, values in TRAINED_SETTINGS.items():
            options = LATE.get(method, {}) if setting == "flip-3-longer" else {}
            cell = {**values, "method": method, "method_options": options}
            cases.append(Case(f"trained/{setting}/{method}", f"trained/{method}", cell))
    for setting, (values, some) in FURTHER_TRAINED.items():
        for method in some:
            cases.append(Case(f"trained/{setting}/{method}", f"trained/{setting}", {**values, "method": method}))
    for setting, recipe in RECIPES.items():
        for method in RECIPE_METHODS:
            cell = {**_TRAINED, "recipe": recipe, "method": method}
            cases.append(Case(f"recipes/{setting}/{method}", f"recipes/{setting}", cell))
    for setting, values in OPTIONS.items():
        cases.append(Case(f"options/{setting}/{values['method']}", f"options/{setting}", values))
    by_key = {case.key: case for case in cases}
    assert len(by_key) == len(cases), "two cases have one key"
    return by_key


def build_cell(*, recipe: Values | None = None, **values: Any) -> Cell:
    """Make a cell of plain values.  The only place that does."""
    return cell_of({**values, "recipe": None if recipe is None else Recipe(**recipe)})


def compute(case: Case) -> Values:
    """Compute a case and read its result."""
    torch.set_num_threads(1)
    if case.direct is not None:
        return _fit(case.values["method"], *direct_crowd(case.direct))
    cell, data = build_cell(**case.values), load_data(case.values["dataset"])
    part = data.take_train(cell.n_train, cell.seed) if isinstance(data, ImageData) else data
    given = cell_crowd(cell, part, whole=data)
    seen = {"crowd": _digest_crowd(given.crowd, given.truth, given.affected)}
    if "network" in case.values:
        return {**seen, **read_result(run_cell(cell, data, device="cpu"))}
    fitted = _fit(case.values["method"], given.crowd, None, case.values.get("method_options"))
    if "refused" in fitted:
        return {**seen, **fitted}
    fitted.pop("worker_quality")  # the estimated quality of the cell
    return {**seen, **fitted, **read_result(run_cell(cell, data, device="cpu"))}


def read_result(result: CellResult) -> Values:
    """Read what a cell gave as JSON-able values, without timings, memory and device.

    A field that holds None is left out.
    """
    scalars = (
        "status", "error", "aggregation_error", "aggregation_error_affected", "test_accuracy",
        "test_accuracy_affected", "confusion_error", "n_items", "n_classes", "n_annotations", "n_unlabelled", "n_iter",
        "converged", "n_trainings",
    )  # fmt: skip
    read: Values = {name: _plain(getattr(result, name)) for name in scalars}
    workers, true, estimated = (np.array(column) for column in zip(*result.workers, strict=True))
    read["workers"] = _text(workers)
    read["true_quality"] = _functionals(true, 1)
    read["estimated_quality"] = _plain(estimated)
    read["curves"] = _plain(result.curves)
    return {name: value for name, value in read.items() if value is not None and value != []}


def read_aggregation(aggregation: Aggregation) -> Values:
    """Read what an aggregator concluded as JSON-able values; large arrays as functionals of them."""
    interval = aggregation.worker_quality_interval
    return {
        "labels": _text(aggregation.labels),
        "posterior": _functionals(aggregation.posterior, 4),
        "class_prior": _functionals(aggregation.class_prior, 2),
        "confusion": _functionals(aggregation.confusion, 3),
        "worker_quality": _plain(aggregation.worker_quality),
        "worker_quality_se": _functionals(aggregation.worker_quality_se, 2),
        "worker_quality_interval": None if interval is None else _functionals(interval, 2),
        "n_unlabelled": _plain(aggregation.n_unlabelled),
        "n_iter": _plain(aggregation.n_iter),
        "converged": _plain(aggregation.converged),
        "n_objective": len(aggregation.objective),
        "objective": _functionals(np.array(aggregation.objective, np.float64), 1),
    }


@cache
def load_data(name: str) -> ImageData | CrowdData:
    """Load the digits, or make the crowd that stands in for a real one."""
    if name == BINARY:
        crowd, truth = _made_crowd(n_items=80, n_workers=9, n_classes=2, share=0.6)
        return CrowdData(name=name, crowd=crowd, truth=np.where(np.arange(80) % 7 == 3, -1, truth))
    if name == FEATURES:
        crowd, truth = _made_crowd(n_items=150, n_workers=7, n_classes=4, share=0.5)
        train, test_labels = _features(truth), np.arange(60, dtype=np.int64) % 4
        return CrowdData(name, crowd, truth, TrainTest(train, _features(test_labels), test_labels))
    return load_images(name)


@cache
def direct_crowd(name: str) -> tuple[CrowdLabels, np.ndarray | None]:
    """Make a small binary crowd and a prior: plain, with known items, with a history, with priors, or uneven.

    The uneven one has an item and a worker without annotations.
    """
    crowd, truth = _made_crowd(n_items=40, n_workers=6, n_classes=2, share=0.7, repeats=False)
    parts: Values = {"item": crowd.item, "worker": crowd.worker, "label": crowd.label}
    sizes: Values = {"n_items": 40, "n_workers": 6, "n_classes": 2}
    items = np.arange(40)
    if name == "gold":
        return CrowdLabels(**parts, **sizes, gold=np.where(items % 5 == 0, truth, -1)), None
    if name == "history":
        counts = 1.0 + np.arange(24, dtype=np.float64).reshape(6, 2, 2) % 5 + 4 * np.eye(2)
        return CrowdLabels(**parts, **sizes, history=counts), None
    if name == "prior":
        return crowd, np.array([0.3, 0.7])
    if name == "item-prior":
        first = 0.2 + 0.6 * (items % 4) / 3
        return crowd, np.stack([first, 1 - first], axis=1)
    if name == "uneven":
        kept = (crowd.worker != 2) & (crowd.item != 11)
        return CrowdLabels(**{part: column[kept] for part, column in parts.items()}, **sizes), None
    return crowd, None


def _fit(method: str, crowd: CrowdLabels, prior: np.ndarray | None = None, options: Values | None = None) -> Values:
    """Fit an aggregator directly; one that refuses the crowd leaves the kind of the error."""
    source = methods.resolve(method, options, labels_only=True).source
    try:
        return read_aggregation(source.fit(crowd, prior))
    except ValueError as error:
        return {"refused": type(error).__name__}


def _made_crowd(
    *, n_items: int, n_workers: int, n_classes: int, share: float, repeats: bool = True
) -> tuple[CrowdLabels, np.ndarray]:
    """Make a crowd without any simulator of the package: workers of rising quality who answer a share of the items.

    Every draw is a hash, so that no generator can change it.
    """
    truth = np.array([_draw("truth", item) * n_classes for item in range(n_items)]).astype(np.int64)
    rows = []
    for item in range(n_items):
        for worker in range(n_workers):
            quality = 0.45 + 0.5 * worker / n_workers
            for time in range(2 if repeats and _draw("again", item, worker) < 0.03 else 1):
                if _draw("asked", item, worker) >= share:
                    continue
                wrong = (truth[item] + 1 + int(_draw("wrong", item, worker, time) * (n_classes - 1))) % n_classes
                right = _draw("right", item, worker, time) < quality
                rows.append((item, worker, truth[item] if right else wrong))
    item, worker, label = np.array(rows, np.int32).T
    return CrowdLabels(item, worker, label, n_items, n_workers, n_classes, repeats="keep"), truth


def _features(truth: np.ndarray) -> np.ndarray:
    """(n_items, 12) features that tell the classes apart, with noise."""
    noise = np.array([[_draw("feature", len(truth), item, place) for place in range(12)] for item in range(len(truth))])
    return (np.eye(12)[truth * 3] + 0.8 * noise).astype(np.float32)


def _draw(*key: object) -> float:
    """Draw a number in [0, 1) by a hash."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:6], "big") / 2**48


def _functionals(values: np.ndarray, number: int) -> list[Any]:
    """Weigh all values by fixed cosines and add them up, in several ways; a value that is not finite counts as -1."""
    flat = np.asarray(values, np.float64).ravel()
    flat = np.where(np.isfinite(flat), flat, -1.0)
    places = np.arange(1, len(flat) + 1)
    return _plain([np.sum(flat * np.cos((way + 1) * 0.7390851332151607 * places)) for way in range(number)])


def _digest_crowd(crowd: CrowdLabels, truth: np.ndarray, affected: np.ndarray) -> str:
    """Hash the annotations, the sizes, the true classes and the affected ones, whatever their integer type."""
    sizes = np.array([crowd.n_items, crowd.n_workers, crowd.n_classes])
    digest = hashlib.sha256()
    for column in (sizes, crowd.item, crowd.worker, crowd.label, truth, affected):
        digest.update(np.ascontiguousarray(column, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]


def _text(values: np.ndarray) -> str:
    """Write small whole numbers in one string, a character each."""
    return "".join(str(int(value)) for value in values)


def _plain(value: Any) -> Any:
    """Make a value JSON-able; NaN and infinities become text."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
