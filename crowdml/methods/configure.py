"""Turn the name of a method in a grid into configured objects.

A name has the form `source+learner`, such as `em+nnaqc`.  The registry has an entry for each part.  `resolve` imports
the class of each entry, and creates an object with the options of the entry and of the user.

- An aggregator works with every learner.  `em` alone means `em+base` (Dawid-Skene, then plain cross-entropy); `nnaqc`
  alone means `mv+nnaqc` (NNAQC on the majority vote).
- A joint source (`labnet`) alternates between aggregator and network, with any learner inside: `labnet+nnaqc`.
- A crowd method (`ccem`) learns from all annotations and has no second part.
- `package.module:Class` names a class outside the registry, as a source.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from crowdml.methods.registry import ALIASES, REGISTRY, Entry, MethodKind
from crowdml.support.names import UnknownNameError, check_name


@dataclass(frozen=True)
class Method:
    """A configured method: `source` finds the labels, `learner` learns from these labels.

    `source_is_joint` is True if the source trains networks itself, like LABNET.
    """

    source: Any
    learner: Any
    source_is_joint: bool


def resolve(name: str, options: Mapping[str, Any] | None = None, *, labels_only: bool = False) -> Method:
    """Import and configure a method.

    Args:
        name: `source+learner`, or one part; the default source is `mv`, the default learner `base`.
        options: fields of the source or the learner.  If both have a field, write `source.field` or `learner.field`.
        labels_only: leave out the learner (None), so that torch is not imported.

    Raises:
        UnknownNameError: a name or an option is unknown.
        ValueError: the value of an option is of a wrong type or out of range; the message names the option.
    """
    if not isinstance(options, Mapping | None) or not all(isinstance(option, str) for option in options or {}):
        raise ValueError(f"the options of method {name} must map the names of options to values, got {options!r}")
    source_entry, learner_entry = _entries(name)
    classes = {"source": _load(source_entry.target)}
    chosen = {"source": dict(source_entry.options)}
    if learner_entry is not None and not labels_only:
        classes["learner"] = _load(learner_entry.target)
        known = _option_names(classes["learner"])
        suggested = {option: value for option, value in source_entry.learner_options.items() if option in known}
        chosen["learner"] = {**suggested, **learner_entry.options}
    for option, value in (options or {}).items():
        part, field_name = _part_with_option(name, option, classes)
        chosen[part][field_name] = value
    objects = {part: _configured(name, part_class, chosen[part]) for part, part_class in classes.items()}
    if source_entry.kind == "crowd":
        from crowdml.joint.end_to_end import EndToEnd

        return Method(EndToEnd(learner=objects["source"]), None, True)
    return Method(objects["source"], objects.get("learner"), source_entry.kind == "joint")


def canonical(name: str) -> str:
    """Return the shortest name of a method: `nnaqc` for `mv+nnaqc`, `em` for `em+base` or the alias `dawid_skene`.

    Raises:
        UnknownNameError: a part is unknown, or the parts cannot be combined.
    """
    _entries(name)
    source, learner = parts(name)
    if learner == "base":
        return source
    return learner if source == "mv" else f"{source}+{learner}" if learner else source


def parts(name: str) -> tuple[str, str]:
    """Return the names of source and learner without checking them.  The learner of a crowd method is an empty text.

    Raises:
        UnknownNameError: the name is not a text.
    """
    if not isinstance(name, str):
        raise UnknownNameError(f"the name of a method must be a text, got {name!r}")
    first, plus, second = name.partition("+")
    first = ALIASES.get(first, first)
    if plus:
        return first, second
    kind = REGISTRY[first].kind if first in REGISTRY else None
    return ("mv", first) if kind == "learner" else (first, "" if kind == "crowd" else "base")


def needs_network(name: str) -> bool:
    """Return False for an aggregator alone or with plain cross-entropy; all other methods need a network."""
    source, learner = _entries(name)
    return source.kind != "aggregator" or learner is not REGISTRY["base"]


def version(name: str, *, labels_only: bool = False) -> str:
    """Return the versions of a method's parts, as in the id of a cell.

    `labels_only` replaces the learner's version by 1, because no learner is used.
    """
    source, learner = _entries(name)
    if learner is None:
        return str(source.version)
    return f"{source.version}+{1 if labels_only else learner.version}"


def _entries(name: str) -> tuple[Entry, Entry | None]:
    """Return the entries of the source and the learner; the learner of a crowd method is None."""
    source_name, learner_name = parts(name)
    if ":" in source_name:
        source = _entry_outside_registry(source_name)
    elif "+" in name:
        if source_name in REGISTRY and REGISTRY[source_name].kind == "crowd":
            raise UnknownNameError(f"{source_name} learns from all annotations; write {source_name!r}, not {name!r}")
        source = _entry("label source", source_name, ("aggregator", "joint"))
    else:
        check_name("method", source_name, [*REGISTRY, *ALIASES])
        source = REGISTRY[source_name]
    if not learner_name and "+" not in name:
        return source, None
    return source, _entry("learner", learner_name, ("learner",))


def _entry(what: str, name: str, kinds: Sequence[MethodKind]) -> Entry:
    if name in REGISTRY and REGISTRY[name].kind in kinds:
        return REGISTRY[name]
    known = [other for other, entry in REGISTRY.items() if entry.kind in kinds]
    return REGISTRY[check_name(what, name, [*known, *ALIASES] if "joint" in kinds else known)]


def _part_with_option(name: str, option: str, classes: Mapping[str, type]) -> tuple[str, str]:
    """Return the part of a method that has an option, and the name of the option in this part."""
    part, dot, field_name = option.partition(".")
    if dot and part in classes:
        check_name(f"option of the {part} of method {name}", field_name, _option_names(classes[part]))
        return part, field_name
    owners = [part for part, part_class in classes.items() if option in _option_names(part_class)]
    if not owners:
        known = [known for part_class in classes.values() for known in _option_names(part_class)]
        check_name(f"option of method {name}", option, known)
    if len(owners) > 1:
        both = " or ".join(f"{part}.{option}" for part in owners)
        raise UnknownNameError(f"both parts of method {name} have the option {option!r}; write {both}")
    return owners[0], option


def _configured(name: str, part: type, options: Mapping[str, Any]) -> Any:
    try:
        return part(**options)
    except ValueError as error:
        raise ValueError(f"method {name}: {error}") from error
    except Exception as error:  # a class outside the registry may check nothing and raise anything
        raise ValueError(f"method {name} cannot be made with the options {dict(options)}: {error}") from error


def _entry_outside_registry(target: str) -> Entry:
    fit = getattr(_load(target), "fit", None)
    if fit is None:
        raise UnknownNameError(f"method class {target!r} has no method fit(crowd, prior=None)")
    kind: MethodKind = "joint" if "task" in inspect.signature(fit).parameters else "aggregator"
    return Entry(kind, target, "your own", "your own")


def _load(target: str) -> type:
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownNameError(f"cannot load method class {target!r}: {error}") from error


def _option_names(part: type) -> list[str]:
    return [item.name for item in fields(part) if item.init]
