"""Make a pattern, a worker model or a design from options that a user gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

from crowdml.support.field_values import converted
from crowdml.support.names import check_name


def make_with_options(what: str, kind: type, options: Mapping[str, Any], **fixed: Any) -> Any:
    """Return an instance of a dataclass of options.

    Args:
        what: what the class is, with its name, for messages: "pattern bimodal".
        kind: the dataclass.
        options: name of a field -> value.
        fixed: fields that are no options.

    Raises:
        ValueError: an option is unknown, has another type than its field, or is out of range.
    """
    hints = get_type_hints(kind)
    known = [name for name in kind.__dataclass_fields__ if name not in fixed]
    for name in options:
        check_name(f"option of {what}", name, known)
    try:
        kind(**fixed, **options)
    except ValueError:  # the class says best what a value must be
        raise
    except (TypeError, AttributeError, OverflowError):
        _converted(hints, options)
        raise
    return kind(**fixed, **_converted(hints, options))


def _converted(hints: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: converted(value, hints[name], name) for name, value in options.items()}
