"""`python -m crowdml COMMAND`: aggregate, train, predict, plan, simulate, datasets, methods."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from crowdml.cli import list_datasets as datasets
from crowdml.cli import list_methods as methods
from crowdml.cli.labels import aggregate, plan, simulate
from crowdml.cli.options import EXIT_BAD_INPUT, EXIT_INTERRUPTED, Parser
from crowdml.cli.training import predict, train
from crowdml.support.names import check_name

COMMANDS = {
    "aggregate": aggregate,
    "train": train,
    "predict": predict,
    "plan": plan,
    "simulate": simulate,
    "datasets": datasets,
    "methods": methods,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0 done, 2 bad input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and not given[0].startswith("-"):
            check_name("command", given[0], COMMANDS)
        options = parser().parse_args(given)
        options.run(options)
    except (ValueError, OSError) as error:
        # Bad input has one clear line; anything else is a bug and shows its traceback.
        print(f"crowdml: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as stop:
        print(f"crowdml: {str(stop) or 'stopped; nothing was written'}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def parser() -> Parser:
    """The command line."""
    command = Parser(
        prog="crowdml",
        description="Learn from crowdsourced labels: find the true labels, know the workers, train networks.",
        epilog="crowdml COMMAND --help shows the options of a command, with examples.\n"
        "exit code: 0 done, 2 bad input, 130 interrupted",
    )
    commands = command.add_subparsers(metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        module.add_to(commands, name)
    return command


if __name__ == "__main__":
    sys.exit(main())
