"""List the methods, and explain their kinds.

examples:
  crowdml methods
  crowdml methods --kind aggregator
  crowdml methods em nnaqc
"""

from __future__ import annotations

import argparse

from crowdml.cli.display import Console, show, speak, table
from crowdml.methods.registry import ALIASES, REGISTRY
from crowdml.support.names import check_name

KINDS = {
    "aggregator": "finds labels from annotations",
    "learner": "trains a network on labels, after any aggregator: em+NAME",
    "crowd": "trains a network on all annotations end to end",
    "joint": "improves labels and network in turns, with any learner: NAME+nnaqc",
}


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("names", nargs="*", metavar="NAME", help="list only these")
    command.add_argument("--kind", choices=KINDS, help="list only methods of this kind")


def run(options: argparse.Namespace) -> None:
    """Print one row per method, sorted by kind."""
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
