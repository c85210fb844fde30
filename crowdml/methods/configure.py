"""Methods by name: a label source and a learner, found in the registry and configured.

A method is a label source and a learner, `em+nnaqc`: any aggregator goes with any learner of single labels.  `em` is
Dawid-Skene followed by plain cross-entropy, `nnaqc` learns from the majority vote.  `labnet` alternates between network
and aggregator, with any learner inside (`labnet+nnaqc`).  A crowd method (`ccem`) learns from all annotations end to
end and stands alone.  A class outside this package is named
`package.module:Class`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from crowdml.methods.registry import ALIASES, REGISTRY, Entry, Kind
from crowdml.support.names import UnknownNameError, check_name


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
        name: `source+learner`, or one of the two; the other is then `mv` or `base`.
        options: fields of the source or of the learner; one that both have is named `source.field` or `learner.field`.
        labels_only: leave the learner out (None), which spares the import of torch.

    Raises:
        UnknownNameError: a name or an option that there is not.
    """
    source_entry, learner_entry = _entries(name)
    classes = {"source": _load(source_entry.target)}
    chosen = {"source": dict(source_entry.options)}
    if learner_entry is not None and not labels_only:
        classes["learner"] = _load(learner_entry.target)
        known = _option_names(classes["learner"])
        suggested = {option: value for option, value in source_entry.learner_options.items() if option in known}
        chosen["learner"] = {**suggested, **learner_entry.options}
    for option, value in (options or {}).items():
        part, field_name = _owner(name, option, classes)
        chosen[part][field_name] = value
    made = {part: made_class(**chosen[part]) for part, made_class in classes.items()}
    if source_entry.kind == "crowd":
        from crowdml.joint.end_to_end import EndToEnd

        return Method(EndToEnd(learner=made["source"]), None, True)
    return Method(made["source"], made.get("learner"), source_entry.kind == "joint")


def canonical(name: str) -> str:
    """The method's shortest name, from that, a longer one or an alias: `mv+nnaqc` is `nnaqc`, `em+base` is `em`.

    Imports nothing of the method.

    Raises:
        UnknownNameError: an unknown part, or parts that do not go together.
    """
    _entries(name)
    source, learner = parts(name)
    if learner == "base":
        return source
    return learner if source == "mv" else f"{source}+{learner}" if learner else source


def parts(name: str) -> tuple[str, str]:
    """The names of a method's source and learner, neither checked; the learner of a crowd method is empty."""
    first, plus, second = name.partition("+")
    first = ALIASES.get(first, first)
    if plus:
        return first, second
    kind = REGISTRY[first].kind if first in REGISTRY else None
    return ("mv", first) if kind == "learner" else (first, "" if kind == "crowd" else "base")


def needs_network(name: str) -> bool:
    """Whether the method says nothing without a network: it is more than an aggregator and plain cross-entropy."""
    source, learner = _entries(name)
    return source.kind != "aggregator" or learner is not REGISTRY["base"]


def version(name: str, *, labels_only: bool = False) -> str:
    """The version of a method's parts, as it enters a cell's id; a cell without a network does not depend on a learner.

    Args:
        name: of the method.
        labels_only: leave the learner's version out; a 1 stands in its place, as in every id so far.
    """
    source, learner = _entries(name)
    if learner is None:
        return str(source.version)
    return f"{source.version}+{1 if labels_only else learner.version}"


def _entries(name: str) -> tuple[Entry, Entry | None]:
    """The entries of the source and of the learner, which a crowd method has not."""
    source_name, learner_name = parts(name)
    if ":" in source_name:
        source = _foreign(source_name)
    elif "+" in name:
        if source_name in REGISTRY and REGISTRY[source_name].kind == "crowd":
            raise UnknownNameError(f"{source_name} learns from all annotations end to end; name it alone, not {name!r}")
        source = _entry("label source", source_name, ("aggregator", "joint"))
    else:
        check_name("method", source_name, [*REGISTRY, *ALIASES])
        source = REGISTRY[source_name]
    if not learner_name and "+" not in name:
        return source, None
    return source, _entry("learner", learner_name, ("learner",))


def _entry(what: str, name: str, kinds: Sequence[Kind]) -> Entry:
    """The entry of that name, which must be of one of the kinds."""
    entry = REGISTRY.get(name)
    if entry is not None and entry.kind in kinds:
        return entry
    known = [other for other, entry in REGISTRY.items() if entry.kind in kinds]
    if "joint" in kinds:
        known += ALIASES
    return REGISTRY[check_name(what, name, known)]


def _owner(name: str, option: str, classes: Mapping[str, type]) -> tuple[str, str]:
    """The part of a method that has an option, and the option's name there."""
    part, dot, field_name = option.partition(".")
    if dot and part in classes:
        check_name(f"option of the {part} of method {name}", field_name, _option_names(classes[part]))
        return part, field_name
    owners = [part for part, made_class in classes.items() if option in _option_names(made_class)]
    if not owners:
        known = [known for made_class in classes.values() for known in _option_names(made_class)]
        check_name(f"option of method {name}", option, known)
    if len(owners) > 1:
        both = " or ".join(f"{part}.{option}" for part in owners)
        raise UnknownNameError(f"option {option!r} of method {name} belongs to both its parts; say {both}")
    return owners[0], option


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
