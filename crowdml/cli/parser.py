"""The parser of all commands, and types of arguments."""

from __future__ import annotations

import argparse
import difflib
from typing import Any, NoReturn


class UsageError(ValueError):
    """A command line that the parser of `program` refuses."""

    def __init__(self, program: str, message: str) -> None:
        super().__init__(program, message)
        self.program, self.message = program, message

    def __str__(self) -> str:
        return f"{' '.join(self.message.split())}; see {self.program} --help"


class Parser(argparse.ArgumentParser):
    """Raise UsageError instead of exiting, keep the line breaks of help texts, and refuse abbreviated options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Parse the words; the error for an unknown option names similar options."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
            near = difflib.get_close_matches(unknown[0].partition("=")[0], flags)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            self.error(f"unknown argument {unknown[0]}{hint}")
        return options

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(self.prog, message)


def positive(text: str) -> int:
    """Return a whole number of at least 1, as the `type` of an argument."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def not_negative(text: str) -> float:
    """Return a number of at least 0, as the `type` of an argument."""
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {value:g}")
    return value
