"""The commands of `python -m sweeps`, one module each.

A module has two functions and stands in the list COMMANDS of `crowdml/cli/results_folder/main.py`:

    add_parser(commands) -> None        add the command's own parser to argparse's subparsers
    run(options, console) -> int        do it; the exit code: 0 fine, 1 something is different, damaged or missing

Bad input is raised as ValueError (ResultsError and LocationError are such) and becomes one line and exit code 2.
`crowdml.cli.results_folder.folders.existing` opens a folder that must be there.  Modules import at their top only what
their parser needs, so that `--help` comes at once.

A command that also takes the grid options of `full_grid.py` calls `set_defaults(takes_grid=True)` on its parser.  The
words that its own parser does not know are then in `options.grid`, a list as
`crowdml.cli.sweeping.sweep_options.parser()` takes it.
"""
