"""`python -m crowdml` is the same as `crowdml`."""

import sys

from crowdml.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
