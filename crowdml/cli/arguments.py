"""What the command lines of sweeps share."""

from __future__ import annotations

import argparse
from typing import NoReturn

EXIT_OK, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 2, 130


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: error: {message}; see --help\n")


def positive(text: str) -> int:
    """A whole number that is at least 1, as the `type` of an argument."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value
