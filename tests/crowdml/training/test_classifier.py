from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import fields
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crowdml.labels import CrowdLabels
from crowdml.learning.recipe import Recipe
from crowdml.methods.registry import REGISTRY
from crowdml.training.classifier import CrowdClassifier
from crowdml.training.defaults import METHOD, NETWORK, RECIPE
from crowdml.training.trained_network import SavedModelError
from tests.crowds import simulated

N_ITEMS, N_CLASSES = 300, 3


def data(seed: int = 0) -> tuple[np.ndarray, CrowdLabels, np.ndarray]:
    """Features that tell the classes apart, six workers of whom some err often, and the truth."""
    crowd, truth = simulated(N_ITEMS, 6, N_CLASSES, seed)
    features = np.random.default_rng(seed).normal(size=(N_ITEMS, 5))
    features[np.arange(N_ITEMS), truth] += 4
    return features, crowd, truth


def classifier(**options) -> CrowdClassifier:
    return CrowdClassifier(**{"epochs": 8, "lr": 0.02, "batch_size": 32, "device": "cpu", **options})


def frame(features: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(features, columns=list("abcde"))


def test_it_learns_the_truth_that_no_worker_knows() -> None:
    features, crowd, truth = data()
    fitted = classifier().fit(features, crowd)
    others, _, their_truth = data(1)
    best_worker = (crowd.to_dense() == truth[:, None]).mean(axis=0).max()
    assert fitted.score(others, their_truth) > max(0.9, best_worker)
    assert fitted.predict_proba(others).sum(axis=1) == pytest.approx(np.ones(N_ITEMS))
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.n_features_in_ == 5
    assert fitted.workers_["quality"].to_numpy() == pytest.approx(np.linspace(0.3, 0.9, 6), abs=0.15)  # as simulated
    assert fitted.workers_["n_labels"].tolist() == [N_ITEMS] * 6
    assert len(fitted.confusion_) == 6 * N_CLASSES**2
    assert (fitted.curves_["metric"] == "train_loss").sum() == 8


def test_every_form_of_labels_says_the_same() -> None:
    features, crowd, _ = data()
    frame = crowd.to_frame().sample(frac=1, random_state=0)
    expected = classifier().fit(features, crowd).predict_proba(features)
    for labels in (frame, crowd.to_dense()):
        assert classifier().fit(features, labels).predict_proba(features) == pytest.approx(expected, abs=1e-6)


def test_names_of_classes_come_back() -> None:
    features, _, truth = data()
    names = np.array(["cat", "dog", "eel"])
    fitted = classifier(method="mv").fit(features, names[truth])
    assert fitted.classes_.tolist() == names.tolist()
    assert fitted.score(features, names[truth]) > 0.9
    assert fitted.score(features, names[(truth + 1) % 3]) < 0.1


def test_rows_without_labels_teach_nothing() -> None:
    features, crowd, _ = data()
    dense = crowd.to_dense()
    dense[80:] = -1
    partly = classifier().fit(features, dense)
    assert partly.rows_.tolist() == list(range(80))
    alone = classifier().fit(features[:80], dense[:80])
    assert partly.predict_proba(features) == pytest.approx(alone.predict_proba(features), abs=1e-6)


def test_a_feature_that_never_varied_does_not_drown_the_others() -> None:
    features, crowd, _ = data()
    features[:, 4] = 7.0
    fitted = classifier().fit(features, crowd)
    before = fitted.predict_proba(features)
    features[:, 4] = -1e4
    assert fitted.predict_proba(features) == pytest.approx(before)


def test_images() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(90) % 3
    images = rng.integers(0, 60, (90, 1, 8, 8)).astype(np.uint8)
    for place in range(3):
        images[truth == place, :, 2 * place : 2 * place + 2, 2:6] += 150
    fitted = classifier(network="cnn_digits", method="nnaqc", epochs=4).fit(images, truth)
    assert fitted.score(images, truth) > 0.9
    with pytest.raises(ValueError, match="an item has the shape"):
        fitted.predict(images[:, :, 1:])


@pytest.mark.parametrize("method", ["geocrowdnet_w", "labnet+nnaqc", "jocor"])
def test_any_kind_of_method_is_saved_and_loaded_without_its_code(method: str, tmp_path: Path) -> None:
    features, crowd, _ = data()
    fitted = classifier(method=method, epochs=2, seed=3).fit(features, crowd)
    fitted.save(tmp_path)
    loaded = CrowdClassifier.load(tmp_path, device="cpu")
    assert loaded.get_params() == {**fitted.get_params(), "milestones": ()}
    assert loaded.predict_proba(features) == pytest.approx(fitted.predict_proba(features), abs=1e-6)
    assert loaded.predict(features[:1]).tolist() == fitted.predict(features[:1]).tolist()
    with pytest.raises(SavedModelError, match="loaded from files"):
        loaded.save(tmp_path)
    (tmp_path / "network.pt2").unlink()
    with pytest.raises(SavedModelError, match=r"network\.pt2 is missing"):
        CrowdClassifier.load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name, entry in REGISTRY.items() if entry.kind != "aggregator"])
def test_every_method_is_saved_and_loaded(method: str, tmp_path: Path) -> None:
    features, crowd, _ = data()
    model = classifier(method=method, epochs=2)
    if method.startswith("genie"):
        with pytest.raises(ValueError, match="true classes"):
            model.fit(features, crowd)
        return
    model.fit(features, crowd).save(tmp_path)
    loaded = CrowdClassifier.load(tmp_path, device="cpu")
    assert loaded.predict_proba(features) == pytest.approx(model.predict_proba(features), abs=1e-6)


def test_scikit_learn_knows_it() -> None:
    features, crowd, truth = data()
    model = classifier(method="mv")
    copied = clone(model)
    assert isinstance(copied, CrowdClassifier)
    assert copied.get_params() == model.get_params()
    assert model.set_params(lr=0.02).lr == 0.02
    assert cross_val_score(model, features, truth, cv=3).mean() > 0.9
    piped = make_pipeline(StandardScaler(), classifier(epochs=4)).fit(features, crowd.to_dense())
    assert piped.score(features, truth) > 0.9
    unpickled = pickle.loads(pickle.dumps(piped))
    assert (unpickled.predict(features) == piped.predict(features)).all()
    with pytest.raises(NotFittedError):
        model.predict(features)


def test_the_options_are_those_of_a_recipe_with_the_defaults_of_the_command() -> None:
    signature = inspect.signature(CrowdClassifier).parameters
    recipe = {item.name for item in fields(Recipe)}
    assert recipe == set(signature) - {"method", "network", "method_options", "seed", "device"}
    assert {name: signature[name].default for name in recipe} == {name: getattr(RECIPE, name) for name in recipe}
    assert (signature["method"].default, signature["network"].default) == (METHOD, NETWORK)


def test_the_seed_decides() -> None:
    features, crowd, _ = data()
    first, same, other = (classifier(epochs=2, seed=seed).fit(features, crowd) for seed in (0, 0, 1))
    assert (first.predict_proba(features) == same.predict_proba(features)).all()
    assert (first.predict_proba(features) != other.predict_proba(features)).any()


@pytest.mark.parametrize(
    ("features", "labels", "says"),
    [
        (np.zeros((4, 2)), np.arange(3), "3 labels and X has 4 rows"),
        (np.zeros((4, 2)), np.zeros(4, int), "every label is 0"),
        (np.zeros((4, 2)), [0, 1, None, 1], "label 2 is empty"),
        (np.zeros((4, 2, 2)), np.arange(4), r"got float64 \(4, 2, 2\)"),
        (np.array([["a"], ["b"]]), [0, 1], "not compatible with arrays of bytes/strings"),
        (np.array([[0.0], [np.nan]]), [0, 1], "feature 0 of item 1 is nan"),
        (np.zeros((0, 2)), np.zeros(0, int), r"0 sample\(s\)"),
        (np.zeros((4, 2)), CrowdLabels.from_dense(np.zeros((3, 2), int)), "3 items and X has 4 rows"),
        (
            np.zeros((4, 2)),
            pd.DataFrame({"task": [0, 4], "worker": [0, 0], "label": [0, 1]}),
            r"whole and in \[0, 4\); it holds 0 to 4",
        ),
        (np.zeros((4, 2)), np.zeros((4, 2, 2), int), r"\(n_items, n_workers\), got"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(features, labels, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        classifier().fit(features, labels)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "emm"}, "did you mean em"),
        ({"method_options": {"max_itr": 3}}, "max_iter"),
        ({"method": "nnaqc", "method_options": {"alpha": "much"}}, "nnaqc"),
        ({"network": "mlp"}, "mlp128"),
        ({"network": "resnet20"}, "needs images"),
        ({"lr": 0.0}, "recipe.lr must be above 0"),
        ({"inputs": "whitened"}, "whitened"),
        ({"device": "gpu"}, "device 'gpu' cannot be used"),
    ],
)
def test_wrong_options_are_said(options: dict, says: str) -> None:
    features, crowd, _ = data()
    with pytest.raises(ValueError, match=says):
        classifier(**options).fit(features, crowd)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epochs": 2.0}, "recipe.epochs must be a whole number, got 2.0"),
        ({"epochs": "3"}, "recipe.epochs must be a whole number, got '3'"),
        ({"epochs": True}, "recipe.epochs must be a whole number, got True"),
        ({"batch_size": np.float64(32)}, "recipe.batch_size must be a whole number"),
        ({"batch_size": 1}, "at least 2 items per batch"),
        ({"lr": "0.01"}, "recipe.lr must be a number in"),
        ({"lr": np.float32("nan")}, "recipe.lr must be a number in"),
        ({"weight_decay": float("inf")}, "recipe.weight_decay must be a number in"),
        ({"momentum": 1.0}, r"recipe.momentum must be in \[0, 1\)"),
        ({"milestones": 3}, "recipe.milestones must be a list of whole numbers"),
        ({"milestones": (0,)}, "recipe.milestones must be at least 1, got 0"),
        ({"late_momentum": "x"}, "recipe.late_momentum must be a number in ±1e15 or None"),
        ({"optimizer": None}, "recipe.optimizer must be one of"),
        ({"augment": "flip"}, 'recipe.augment "flip" is for images'),
        ({"seed": -1}, r"seed must be a whole number in \[0, 2\^64\), got -1"),
        ({"seed": 2**64}, "seed must be a whole number"),
        ({"seed": None}, "seed must be a whole number"),
        ({"seed": np.random.default_rng(0)}, "seed must be a whole number"),
        ({"device": "meta"}, "device 'meta' cannot be used"),
        ({"device": None}, "device None cannot be used"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        ({"method": None}, "the name of a method must be a text"),
        ({"network": 128}, "the name of a network must be a text"),
        ({"method_options": [3]}, "the options of method em must map"),
        ({"method_options": {"tol": float("nan")}}, "method em: tol must be a number"),
        ({"method_options": {"diagonal": 1e308}}, "method em: diagonal must be a number"),
        ({"method_options": {"device": "cuda:99"}}, "device 'cuda:99' cannot be used"),
        ({"method": "laa", "method_options": {"device": "no"}}, "device 'no' cannot be used"),
    ],
)
def test_a_parameter_out_of_range_is_named_before_the_training(options: dict, says: str, monkeypatch) -> None:
    features, crowd, _ = data()
    monkeypatch.setattr("torch.optim.Adam.step", lambda *_: pytest.fail("the training has begun"))
    with pytest.raises(ValueError, match=says):
        classifier(**options).fit(features, crowd)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": np.int64(2), "batch_size": np.int32(16), "seed": np.uint64(2**64 - 1)},
        {"lr": np.float32(0.02), "validation": np.float64(0.2), "patience": np.int64(3), "milestones": np.array([1])},
        {"method": "em", "method_options": {"max_iter": np.int64(5), "hard": np.bool_(True)}},
        {"method": np.str_("gce"), "method_options": {"q": np.float32(0.7)}, "optimizer": np.str_("sgd")},
        {"method": "forward", "method_options": {"transition": np.eye(3)}, "milestones": [1]},
    ],
)
def test_numpy_scalars_are_parameters_too(options: dict, tmp_path: Path) -> None:
    features, crowd, _ = data()
    fitted = classifier(**{"epochs": 2, **options}).fit(features, crowd)
    fitted.save(tmp_path)
    assert CrowdClassifier.load(tmp_path, device="cpu").predict_proba(features) == pytest.approx(
        fitted.predict_proba(features), abs=1e-6
    )


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.astype(np.float32),
        lambda x: np.round(x * 20).astype(np.int8),
        lambda x: x.astype(object),
        lambda x: x.astype(np.longdouble),
        lambda x: x.tolist(),
        lambda x: torch.tensor(x, requires_grad=True),
        pd.DataFrame,
        lambda x: frame(x).astype("Float64"),
        lambda x: frame(x).astype(object),
        lambda x: pd.DataFrame(x, columns=list("abcde"), index=np.arange(N_ITEMS)[::-1]),
        lambda x: frame(x).assign(flag=np.arange(N_ITEMS) % 2 == 0),
        lambda x: frame(x).assign(flag=pd.array(np.arange(N_ITEMS) % 2 == 0, "boolean")),
        lambda x: np.round(x * 20 + 100).clip(0, 255).astype(np.uint8),
    ],
)
def test_every_form_of_features_is_learned_from(form) -> None:
    features, _, truth = data()
    values = form(features)
    fitted = classifier(method="mv").fit(values, truth)
    assert (fitted.predict(values) == truth).mean() > 0.9


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: sp.csr_array(x), "Sparse data was passed for X"),
        (lambda x: frame(x).assign(g="x"), "column 'g' of X holds"),
        (lambda x: frame(x).assign(g=pd.Timestamp("2024")), "column 'g' of X holds datetime64"),
        (lambda x: frame(x).assign(g=pd.Categorical([1] * N_ITEMS)), "column 'g' of X holds category"),
        (
            lambda x: frame(x).assign(g=pd.array([None] + [1.0] * (N_ITEMS - 1), "Float64")),
            "feature g of item 0",
        ),
        (lambda x: x.astype("timedelta64[s]"), "items must be features"),
        (lambda x: x + 1j, "Complex data not supported"),
        (lambda x: x * 1e305, "features must be in ±1e"),
        (lambda x: x[:, 0], "Reshape your data"),
        (lambda x: np.ones_like(x), "every feature is constant"),
    ],
)
def test_what_are_no_features_is_refused(change, says: str) -> None:
    features, _, truth = data()
    with pytest.raises((ValueError, TypeError), match=says):
        classifier(method="mv").fit(change(features), truth)


def test_a_loaded_classifier_is_pickled_copied_and_sent_to_another_process(tmp_path: Path) -> None:
    features, crowd, _ = data()
    classifier(method="nnaqc", epochs=2).fit(features, crowd).save(tmp_path)
    loaded = CrowdClassifier.load(tmp_path, device="cpu")
    expected = loaded.predict_proba(features)
    for other in (
        pickle.loads(pickle.dumps(loaded)),
        copy.deepcopy(loaded),
        pickle.loads(pickle.dumps(copy.copy(loaded))),
    ):
        assert (other.predict_proba(features) == expected).all()
        assert other.get_params() == loaded.get_params()
    joblib.dump(loaded, tmp_path / "loaded.joblib")
    assert (joblib.load(tmp_path / "loaded.joblib").predict_proba(features) == expected).all()
    (elsewhere,) = joblib.Parallel(n_jobs=2)([joblib.delayed(loaded.predict_proba)(features)])
    assert elsewhere == pytest.approx(expected, abs=1e-6)
