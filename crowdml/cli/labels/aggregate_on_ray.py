"""`crowdml aggregate --engine ray`: divide the crowd among the processes of a Ray cluster."""

from __future__ import annotations

import argparse

from crowdml.cli.display import Console, sizes, speak, written
from crowdml.cli.options import columns_of, method_options
from crowdml.support.value_text import typed

# These options need the whole crowd in the memory of one process, or are for text files.
LOCAL_ONLY = (
    "gold", "history", "prior", "confusion", "doubtful_labels", "truth", "compare",
    "answers_format", "worker_columns", "delimiter", "encoding", "formula_safe",
    "skip_empty", "strip",
)  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Aggregate, write the tables, and print a summary."""
    for name in LOCAL_ONLY:
        if getattr(options, name):
            raise ValueError(f"--engine ray cannot take --{name.replace('_', '-')}; leave out one of them")
    # Imported here, because Ray takes a second to import.
    from sweeps.aggregation.sharded import aggregate_sharded

    result = aggregate_sharded(
        options.input, options.method, out=options.out, workers_out=options.workers,
        columns=columns_of(options),
        class_names=None if options.classes is None else typed(options.classes).tolist(),
        repeats=options.repeats, options=method_options(options.method, options), n_shards=options.shards,
        address=options.address,
    )  # fmt: skip
    console = Console()
    speak(console, f"{options.input}: {sizes(result)}, {result.n_classes} classes")
    end = f"{'converged' if result.converged else 'not converged'} at iteration {result.n_iter}"
    speak(console, f"method          {options.method} in {result.n_shards} shards, {end}, {result.seconds:.1f} s")
    speak(console, written([path for path in (options.out, options.workers) if path]))
