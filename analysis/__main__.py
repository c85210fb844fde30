"""`python -m analysis RESULTS`."""

import sys

from crowdml.cli.sweeping.analyze import main

if __name__ == "__main__":
    sys.exit(main())
