from __future__ import annotations

from typing import get_args

import pytest

from crowdml import methods
from crowdml.aggregation import DawidSkene, MajorityVote
from crowdml.methods import registry
from crowdml.support.names import UnknownNameError
from tests.cells import cell

KINDS = get_args(registry.MethodKind)


@pytest.mark.parametrize("name", methods.REGISTRY)
def test_every_registered_class_can_be_made_with_its_options(name: str) -> None:
    entry = methods.REGISTRY[name]
    resolved = methods.resolve(f"mv+{name}" if entry.kind == "learner" else name)
    part = resolved.learner if entry.kind == "learner" else resolved.source
    if entry.kind == "crowd":
        part = part.learner
    assert type(part).__module__ == entry.target.partition(":")[0]
    assert resolved.source_is_joint == (entry.kind in ("joint", "crowd"))
    for option, value in entry.options.items():
        assert getattr(part, option) == value
    for option, value in entry.learner_options.items():
        assert getattr(resolved.learner, option) == value
    assert entry.summary
    assert entry.paper


def test_short_and_long_names_give_the_same_method() -> None:
    for long, short in (
        ("mv+nnaqc", "nnaqc"),
        ("base", "mv"),
        ("zencrowd+jocor3", "one_coin+jocor3"),
        ("ccem", "ccem"),
    ):
        assert methods.canonical(long) == methods.canonical(short) == short
    resolved = methods.resolve("nnaqc")
    assert resolved.source == methods.resolve("mv").source
    assert resolved.learner == methods.resolve("em+nnaqc").learner


def test_which_methods_need_a_network() -> None:
    for name, needed in (("em", False), ("em+base", False), ("nnaqc", True), ("em+nnaqc", True), ("labnet", True)):
        assert methods.needs_network(name) == needed
    assert methods.needs_network("ccem")


def test_any_aggregator_works_with_any_learner_and_crowd_methods_have_no_second_part() -> None:
    by_kind = {kind: [name for name, entry in methods.REGISTRY.items() if entry.kind == kind] for kind in KINDS}
    for source in (*by_kind["aggregator"], *by_kind["joint"]):
        for learner in by_kind["learner"]:
            assert methods.resolve(f"{source}+{learner}").learner is not None
    with pytest.raises(UnknownNameError, match="ccem learns from all annotations; write 'ccem', not 'ccem"):
        methods.resolve("ccem+nnaqc")
    with pytest.raises(UnknownNameError, match="unknown learner 'ccem'"):
        methods.resolve("em+ccem")


def test_an_option_of_both_parts_needs_the_name_of_the_part() -> None:
    with pytest.raises(UnknownNameError, match=r"write source\.max_iter or learner\.max_iter"):
        methods.resolve("em+s_model_em", {"max_iter": 3})
    resolved = methods.resolve("em+s_model_em", {"source.max_iter": 3, "learner.max_iter": 4})
    assert (resolved.source.max_iter, resolved.learner.max_iter) == (3, 4)


def test_each_part_gets_its_options() -> None:
    assert methods.resolve("em", {"max_iter": 7}).source == DawidSkene(max_iter=7)
    assert methods.resolve("em_hard").source == DawidSkene(hard=True)
    assert methods.resolve("mv+base", {"ties": "random"}).source == MajorityVote(ties="random")


def test_an_alias_gives_the_same_method() -> None:
    assert methods.resolve("dawid_skene").source == DawidSkene()
    assert methods.canonical("dawid_skene+base") == "em"
    assert cell(method="dawid_skene").id == cell(method="em").id


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("majority", {}, "unknown method 'majority'"),
        ("labnet+em", {}, "unknown learner 'em'"),
        ("base+base", {}, "unknown label source 'base'"),
        ("em", {"max_itr": 3}, "unknown option of method em 'max_itr'; did you mean max_iter"),
        ("os:path", {}, "method class 'os:path' has no method fit"),
    ],
)
def test_an_error_for_an_unknown_name_suggests_similar_names(name: str, options, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        methods.resolve(name, options)


def test_a_class_outside_the_registry_is_named_by_module_and_class() -> None:
    resolved = methods.resolve("tests.cells:Slow+base", {"seconds": 0.0})
    assert resolved.source.seconds == 0.0
    assert not resolved.source_is_joint
