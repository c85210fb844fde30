"""`python sweeps/tune_method.py`: the same as `crowdml tune`."""

import sys

from crowdml.cli.sweeping.tune import main

if __name__ == "__main__":
    sys.exit(main())
