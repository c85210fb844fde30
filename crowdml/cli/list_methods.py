"""`crowdml methods`: what the registry holds."""

from __future__ import annotations

import argparse

from rich.console import Console

from crowdml.cli.display import show, speak, table
from crowdml.methods.registry import ALIASES, REGISTRY
from crowdml.support.names import check_name

KINDS = {
    "aggregator": "labels from annotations",
    "learner": "a network from labels, after any aggregator: em+NAME",
    "crowd": "a network from all annotations end to end",
    "joint": "labels and network in turns, with any learner inside: NAME+nnaqc",
}


def add_to(commands: argparse._SubParsersAction, name: str) -> None:
    """The command line of this command."""
    command = commands.add_parser(
        name,
        help="list the methods",
        description="List the methods: aggregators find labels from annotations, learners train a network on labels,\n"
        "crowd methods train one on all annotations end to end, joint methods take turns.",
        epilog="examples:\n  crowdml methods\n  crowdml methods --kind aggregator\n  crowdml methods em nnaqc",
    )
    command.set_defaults(run=run)
    command.add_argument("names", nargs="*", metavar="NAME", help="only these")
    command.add_argument("--kind", choices=KINDS, help="only those of this kind")


def run(options: argparse.Namespace) -> None:
    """Print one row a method, kind by kind.

    Raises:
        UnknownNameError: a name that there is not; says the nearest.
    """
    console = Console()
    also = {name: [alias for alias, meant in ALIASES.items() if meant == name] for name in REGISTRY}
    wanted = {ALIASES.get(name, name) for name in options.names}
    for name in options.names:
        check_name("method", name, [*REGISTRY, *ALIASES])
    rows = [
        (", ".join((name, *also[name])), entry.kind, entry.summary, entry.paper)
        for kind in KINDS
        for name, entry in REGISTRY.items()
        if entry.kind == kind and options.kind in (None, kind) and (not wanted or name in wanted)
    ]
    show(console, table(("name", "kind", "what it does", "paper"), rows, names=("name", "kind")))
    if not options.names:
        speak(console, "")
        for kind, meaning in KINDS.items():
            if options.kind in (None, kind):
                speak(console, f"{kind:<11} {meaning}")
