"""`python sweeps/full_grid.py` is the same as `crowdml sweep`."""

import sys

from crowdml.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]], script="python sweeps/full_grid.py"))
