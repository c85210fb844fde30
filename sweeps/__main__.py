"""`python -m sweeps COMMAND RESULTS`."""

import sys

from crowdml.cli.results_folder.main import main

if __name__ == "__main__":
    sys.exit(main())
