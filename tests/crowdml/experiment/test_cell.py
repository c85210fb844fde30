from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from crowdml import methods
from crowdml.experiment.axes import CellError
from crowdml.experiment.cell import Cell, Training, check_options
from crowdml.experiment.crowd_types import MachineAnnotators, Real, Simulated
from crowdml.learning.recipe import Recipe
from tests.cells import cell

REAL = {"dataset": "bluebird", "pattern": "real", "noise_rate": None, "n_workers": None}
MACHINES = {"pattern": "machine_annotators", "noise_rate": None, "n_workers": 3}
RECIPE = Recipe(epochs=2, batch_size=64, lr=0.05, milestones=(1,))
TRAINED = {"network": "cnn_digits", "recipe": RECIPE}


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"missing_rate": 1.0}, "missing_rate", "missing_rate must be in [0, 1), got 1.0"),
        ({"noise_rate": -0.1}, "noise_rate", "noise_rate must be in [0, 1), got -0.1"),
        ({"noise_rate": "high"}, "noise_rate", "noise_rate must be a number, got 'high'"),
        ({"noise_rate": float("nan")}, "noise_rate", "noise_rate must be a number, got nan"),
        ({"n_workers": 0}, "n_workers", "n_workers must be at least 1, got 0"),
        ({"n_workers": 2.5}, "n_workers", "n_workers must be a whole number, got 2.5"),
        ({"n_train": 0}, "n_train", "n_train must be at least 1, got 0"),
        ({"seed": -1}, "seed", "seed must be at least 0, got -1"),
        ({"seed": True}, "seed", "seed must be a whole number, got True"),
        ({"method": 3}, "method", "method must be text, got 3"),
        ({"method_options": 3}, "method_options", "method_options must be options by name, got 3"),
        ({"label_budget": 3}, "label_budget", "label_budget is no field of a cell (there are: dataset, n_train"),
        ({"pattern": "unifrm"}, "pattern", "(did you mean uniform?), got 'unifrm'"),
        ({"method": "labent"}, "method", "method: unknown method 'labent'; did you mean labnet"),
        ({"method": "em+bse"}, "method", "unknown learner 'bse'; did you mean base"),
        ({"method": "tests.cells:Nothing"}, "method", "cannot load method class"),
        ({"missing": "ceil"}, "missing", "missing must be one of floor, round, bernoulli, got 'ceil'"),
        ({"network": "lenet"}, "recipe", "recipe must be given, because a network has one"),
        ({"recipe": RECIPE}, "recipe", "recipe must be left out, because a cell without a network has none"),
        ({"network": "lenett", "recipe": RECIPE}, "network", "did you mean lenet"),
        (
            {"method": "labnet"},
            "method",
            "method needs a network and a recipe, because it trains a network, got 'labnet'",
        ),
        ({"n_workers": None}, "n_workers", "n_workers must be given"),
        ({"noise_rate": None}, "noise_rate", "noise_rate must be given, because simulated workers have one"),
        ({"worker_model": "hammers"}, "worker_model", "(did you mean hammer_spammer"),
        (
            {"worker_options": {"hammers": 0.1}},
            "worker_options.hammers",
            "worker_options.hammers: unknown option of worker model homogeneous 'hammers'",
        ),
        (
            {"worker_model": "separable_uniform", "worker_options": {"gamma": -1}},
            "worker_options.gamma",
            "gamma must be at least 0",
        ),
        ({"assignment": "balanced"}, "assignment_options", "needs the assignment option labels_per_item"),
        (
            {"assignment": "balanced", "assignment_options": {"labels_per_item": 4}},
            "assignment_options.labels_per_item",
            "labels_per_item must be at most n_workers = 3, got 4",
        ),
        (
            {"assignment": "power_law", "assignment_options": {"labels_per_item": 2, "exponent": -1}},
            "assignment_options.exponent",
            "exponent must be at least 0, got -1",
        ),
        ({"dataset": "bluebird"}, "pattern", 'pattern must be "real", because bluebird has real workers'),
        ({**REAL, "dataset": "digits"}, "dataset", "dataset must be one of "),
        ({**REAL, "noise_rate": 0.2}, "noise_rate", "must be left out, because real workers have none, got 0.2"),
        ({**REAL, "n_train": 50}, "n_train", "because a crowd of real workers is used whole, got 50"),
        ({**REAL, "worker_model": "adversaries"}, "worker_model", "because real workers have none"),
        ({**REAL, "assignment": "balanced"}, "assignment", "because real workers have none"),
        ({**REAL, "n_workers": 0}, "n_workers", "n_workers must be at least 1, got 0"),
        ({**REAL, **TRAINED}, "network", "must be left out, because the items of bluebird are not available"),
        ({**REAL, "method": "labnet"}, "method", "method needs a network"),
        ({**MACHINES, "noise_rate": 0.2}, "noise_rate", "because machine annotators have none"),
        ({**MACHINES, "worker_model": "adversaries"}, "worker_model", "because machine annotators have none"),
        ({**MACHINES, "n_workers": None}, "n_workers", "n_workers must be given"),
        ({**MACHINES, "pattern_options": {"gamma": 1}}, "pattern_options.gamma", "unknown option of pattern machine"),
        ({**MACHINES, "dataset": "cifar10_labels"}, "dataset", "dataset must have images"),
        ({**MACHINES, "assignment": "balanced"}, "assignment_options", "needs the assignment option labels_per_item"),
    ],
)
def test_an_invalid_cell_is_refused_with_its_field_and_the_reason(changes, field: str, message: str) -> None:
    with pytest.raises(CellError) as caught:
        cell(**changes)
    assert caught.value.field == field
    assert message in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))


def test_a_pattern_of_another_crowd_is_refused() -> None:
    with pytest.raises(CellError, match="pattern must be one of uniform"):
        Simulated(pattern="real", noise_rate=0.1, n_workers=3)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"method": "em", "method_options": {"max_itr": 3}}, "method_options.max_itr", "did you mean max_iter"),
        ({"method": "em", "method_options": {"max_iter": 3, "init": "x"}}, "method_options.init", "init"),
        ({"pattern": "bimodal", "pattern_options": {"discretis": 1}}, "pattern_options.discretis", "unknown option"),
        ({"pattern": "flip", "dataset": "cifar10n_labels"}, "pattern_options", "no class pairs"),
    ],
)
def test_options_are_checked_by_what_takes_them(changes, field: str, message: str) -> None:
    made = cell(**changes)
    with pytest.raises(CellError, match=message) as caught:
        check_options(made)
    assert caught.value.field == field
    check_options(cell(method="em", method_options={"max_iter": 3}))
    check_options(cell(**REAL))
    check_options(cell(**MACHINES))


def test_the_id_is_a_hash_of_the_content() -> None:
    assert cell().id == cell(noise_rate=0.6).id
    assert cell(missing_rate=0).id == cell(missing_rate=0.0).id
    assert cell(method_options=(("a", 1), ("b", 2))).id == cell(method_options=(("b", 2), ("a", 1))).id
    different = [
        cell(), cell(seed=1), cell(n_workers=4), cell(method="em"), cell(pattern="flip"), cell(dataset="mnist"),
        cell(missing_rate=0.1), cell(missing="round"), cell(method_options=(("ties", "random"),)), cell(n_train=100),
        cell(**TRAINED), cell(network="cnn_digits", recipe=replace(RECIPE, lr=0.1)),
        cell(worker_model="hammer_spammer"), cell(worker_model="hammer_spammer", worker_options={"hammers": 0.4}),
        cell(assignment="balanced", assignment_options={"labels_per_item": 2}), cell(**REAL),
        cell(assignment="balanced", assignment_options={"labels_per_item": 3}), cell(**{**REAL, "n_workers": 9}),
        cell(**MACHINES), cell(**{**MACHINES, "n_workers": 4}), cell(**MACHINES, pattern_options={"expert_images": 9}),
    ]  # fmt: skip
    assert len({made.id for made in different}) == len(different)
    assert len(cell().id) == 16


def test_a_new_method_version_changes_the_id_of_its_own_cells_only(monkeypatch) -> None:
    before = cell().id, cell(method="em").id
    monkeypatch.setitem(methods.REGISTRY, "mv", replace(methods.REGISTRY["mv"], version=2))
    assert cell().id != before[0]
    assert cell(method="em").id == before[1]


@pytest.mark.parametrize(
    ("changes", "seed"),
    [
        ({}, 1048073468545627567),
        ({"seed": 1}, 1619850460426723930),
        ({"n_train": 100, "seed": 2}, 15748034910800283585),
        ({"pattern": "bimodal", "pattern_options": {"discretise": "round"}}, 7370644127365187412),
        ({"worker_model": "hammer_spammer"}, 7704513603219167547),
        ({"worker_model": "hammer_spammer", "worker_options": {"hammers": 0.4}}, 11103650699905685545),
        ({"assignment": "balanced", "assignment_options": {"labels_per_item": 2}}, 3932641465510821229),
        (
            {
                "worker_model": "separable_uniform", "worker_options": {"gamma": 0.01}, "assignment": "balanced",
                "assignment_options": {"labels_per_item": 1}, "n_workers": 5,
            },
            18211923401584393688,
        ),
        (MACHINES, 18178020012345306974),
        ({**MACHINES, "pattern_options": {"expert_images": 9}, "n_train": 600}, 5035140450250388092),
        ({**MACHINES, "assignment": "balanced", "assignment_options": {"labels_per_item": 2}}, 647012104028116918),
        (REAL, 12513426617780758887),
        ({**REAL, "n_workers": 9, "seed": 3, "missing_rate": 0.2}, 10315864434142189984),
    ],
)  # fmt: skip
def test_the_seed_of_a_crowd_never_changes(changes, seed: int) -> None:
    assert cell(**changes).crowd_seed == seed


def test_all_methods_of_a_combination_see_the_same_crowd() -> None:
    assert cell().crowd_seed == cell(method="em", n_workers=9, missing_rate=0.3).crowd_seed
    sparse = {"assignment": "balanced", "assignment_options": {"labels_per_item": 2}}
    separable = [cell(worker_model="separable_uniform", worker_options={"gamma": gamma}) for gamma in (0.01, 0.2)]
    others = [cell(seed=1), cell(worker_model="hammer_spammer"), cell(**sparse), cell(pattern="pair"), cell()]
    assert len({made.crowd_seed for made in (*others, *separable)}) == 7
    assert cell(**sparse).crowd_seed == cell(**sparse, n_workers=9, method="em").crowd_seed
    assert cell().crowd_key == cell(method="em", **TRAINED).crowd_key != cell(n_workers=9).crowd_key


def test_the_types_say_what_a_crowd_has() -> None:
    assert cell().crowd == Simulated(pattern="uniform", noise_rate=0.6, n_workers=3)
    assert cell(**MACHINES).crowd == MachineAnnotators(n_workers=3)
    assert cell(**REAL).crowd == Real()
    trained = cell(**TRAINED)
    assert trained.training == Training(network="cnn_digits", recipe=RECIPE)
    assert (trained.network, cell().network) == ("cnn_digits", None)
    made = Cell(dataset="digits", crowd=cell().crowd, method="mv+base", training=trained.training, seed=0)
    assert made == trained
    assert hash(made) == hash(trained)
