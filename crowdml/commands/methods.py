"""`crowdml methods`: what the registry holds."""

from __future__ import annotations

import argparse

from rich.console import Console

from crowdml.commands.display import show, table
from crowdml.methods import ALIASES, REGISTRY

KINDS = ("aggregator", "joint", "learner")


def add_to(commands: argparse._SubParsersAction, name: str) -> None:
    """The command line of this command."""
    command = commands.add_parser(
        name,
        help="list the methods",
        description="List the methods: aggregators find labels from annotations, learners train a network on labels,\n"
        "joint methods do both at once.",
        epilog="examples:\n  crowdml methods\n  crowdml methods --kind aggregator",
    )
    command.set_defaults(run=run)
    command.add_argument("--kind", choices=KINDS, help="only these")


def run(options: argparse.Namespace) -> None:
    """Print one row a method."""
    also = {name: [alias for alias, meant in ALIASES.items() if meant == name] for name in REGISTRY}
    rows = [
        (", ".join((name, *also[name])), entry.kind, entry.summary, entry.paper)
        for kind in KINDS
        for name, entry in REGISTRY.items()
        if entry.kind == kind and options.kind in (None, kind)
    ]
    show(Console(), table(("name", "kind", "what it does", "paper"), rows, names=("name", "kind")))
