"""The `crowdml` command: run the sub-command and turn errors into exit codes.

Each sub-command is a module whose docstring is its help text and that has two functions:

    add_options(command) -> None        add the options to the parser of the command
    run(options) -> int | None          do the work; return the exit code, None for 0

To add a command, write the module and add a line to COMMANDS.  Only the module of the called command is imported, so
that `crowdml --help` needs no other library.

`run` raises ValueError or OSError for bad input.  SIGINT and SIGTERM raise KeyboardInterrupt in `run`.  It lets the
exception pass, or raises it again with a text that says how to continue.
`options.program` ("crowdml sweep") and `options.words` (the arguments) hold what the user typed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from crowdml.cli.parser import Parser, UsageError
from crowdml.support.names import check_name
from crowdml.support.stop_signals import catch_signals

EXIT_OK, EXIT_BAD_INPUT = 0, 2

EXIT_CODES = """exit codes: 0 done, 1 something differs or is damaged (results, watch), a worker was lost (train),
            2 bad input, 3 some cells failed (sweep, tune), 130 interrupted, 143 terminated"""


class Command(NamedTuple):
    """A sub-command.

    Args:
        module: its module.
        help: what the command does, in one line.
        goes_on: whether the same command continues the work after it was stopped.
    """

    module: str
    help: str
    goes_on: bool = False


COMMANDS = {
    "aggregate": Command("labels.aggregate", "find the true labels and the quality of the workers"),
    "plan": Command("labels.plan", "find where to buy the next labels, and how many labels are enough"),
    "simulate": Command("labels.simulate", "make a crowd whose true labels are known"),
    "train": Command("training.train", "train a network on your own items and the labels of a crowd", True),
    "predict": Command("training.predict", "predict the classes of new items with a trained network"),
    "sweep": Command("sweeping.sweep", "run a grid of experiments", True),
    "tune": Command("sweeping.tune", "search for the best options of a method", True),
    "status": Command("sweeping.status", "show the runs of a results folder and their progress"),
    "watch": Command("sweeping.watch", "show the live screen of a run"),
    "analyze": Command("sweeping.analyze", "make tables, figures and a report from a results folder"),
    "results verify": Command("results.verify", "check a results folder, find missing cells, repair"),
    "results compact": Command("results.compact", "join the many small files of a results folder"),
    "results merge": Command("results.merge", "bring several results folders into one"),
    "results diff": Command("results.diff", "compare two results folders"),
    "results export": Command("results.export", "write results as CSV"),
    "methods": Command("lists.list_methods", "list the methods"),
    "datasets": Command("lists.list_datasets", "list the data sets"),
    "presets": Command("lists.list_presets", "list the grids that crowdml sweep has ready"),
}


def main(arguments: Sequence[str] | None = None, *, script: str | None = None) -> int:
    """Run a command and return its exit code, see EXIT_CODES.

    Args:
        arguments: a command and its arguments; by default the arguments of this process.
        script: the program name in help texts and messages; the default is `crowdml COMMAND`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    program, stopped = script or "crowdml", "stopped"
    with catch_signals(process_ends=arguments is None or script is not None) as signals:
        try:
            name = _command_name(words)
            program = script or f"crowdml {name}"
            # Known before the command is imported, because a signal may come during the import.
            stopped += "; the same command goes on" if COMMANDS[name].goes_on else ""
            options = _parse(name, words, script=script)
            return options.run(options) or EXIT_OK
        except BrokenPipeError:
            # The reader of the output, such as `head`, has enough.  Nothing may be written to it at exit.
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            return EXIT_OK
        except (ValueError, OSError) as error:
            # Bad input gives one clear line per problem.  Any other exception is a bug and shows its traceback.
            program = error.program if isinstance(error, UsageError) else program
            for line in getattr(error, "lines", [str(error)]):
                print(f"{program}: error: {' '.join(line.split())}", file=sys.stderr)
            return EXIT_BAD_INPUT
        except MemoryError as error:
            print(f"{program}: error: not enough memory for these sizes: {error}", file=sys.stderr)
            return EXIT_BAD_INPUT
        except KeyboardInterrupt as stop:
            print(f"{program}: {str(stop) or stopped}", file=sys.stderr)
            return signals.exit_code


def parse(words: Sequence[str], *, script: str | None = None) -> argparse.Namespace:
    """Read a command line.

    Returns:
        The options, with `run` (the function of the command), `program` and `words` (what the user typed).

    Raises:
        ValueError: an unknown command or option, or a bad value.
        SystemExit: the user asked for help, which has been printed.
    """
    return _parse(_command_name(words), words, script=script)


def _parse(name: str, words: Sequence[str], *, script: str | None) -> argparse.Namespace:
    module = import_module(f"crowdml.cli.{COMMANDS[name].module}")
    description, _, examples = (module.__doc__ or "").partition("\n\nexample")
    parser = Parser(prog=script or f"crowdml {name}", description=description, epilog=f"example{examples}")
    module.add_options(parser)
    given = list(words[len(name.split()) :])
    parser.set_defaults(run=module.run, program=parser.prog, words=given)
    return parser.parse_args(given)


def _command_name(words: Sequence[str]) -> str:
    """Return the key of COMMANDS with which the words begin, or print help and exit."""
    group = "results" if words[:1] == ["results"] else ""
    program = f"crowdml {group}".strip()
    rest = words[1:] if group else words
    names = {name.removeprefix(f"{group} "): name for name in COMMANDS if name.startswith(group)}
    overview = Parser(
        prog=program,
        usage=f"{program} COMMAND ...",
        description="Look after the results folder of a sweep."
        if group
        else "Learn from crowdsourced labels: find the true labels, know the workers, train networks.",
        epilog="commands:\n"
        + "".join(f"  {name:<16} {COMMANDS[key].help}\n" for name, key in names.items())
        + f"\n{program} COMMAND --help shows the options of a command, with examples.\n\n{EXIT_CODES}",
    )
    if not rest:
        overview.error("a command is missing")
    if rest[0].startswith("-"):
        overview.parse_args([rest[0]])
    valid = names if group else dict.fromkeys(name.split()[0] for name in names)
    return names[check_name("command", rest[0], valid)]
