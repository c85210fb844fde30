"""`python -m sweeps COMMAND RESULTS`: look after a results folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from crowdml.cli.arguments import EXIT_BAD_INPUT, EXIT_INTERRUPTED, OneLineParser
from crowdml.cli.results_folder import compact, diff, export, merge, verify
from crowdml.cli.sweeping import status, watch

COMMANDS = (status, watch, verify, compact, merge, diff, export)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = parser()
    options, unknown = command.parse_known_args(arguments)
    if unknown and not getattr(options, "takes_grid", False):
        command.error(f"unrecognized arguments: {' '.join(unknown)}")
    options.grid = unknown
    try:
        return options.run(options, Console())
    except (ValueError, OSError) as error:
        # Bad input has one clear line; anything else is a bug and shows its traceback.
        print(f"{command.prog} {options.command}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = OneLineParser(prog="python -m sweeps", description="Look after the results folder of a sweep.")
    commands = made.add_subparsers(
        dest="command", metavar="COMMAND", required=True, help="COMMAND --help says more", parser_class=OneLineParser
    )
    for module in COMMANDS:
        module.add_parser(commands)
        # The last parser added is the module's.
        name = module.__name__.rpartition(".")[2]
        commands.choices[name].set_defaults(run=module.run)
    return made
