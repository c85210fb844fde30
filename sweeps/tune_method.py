"""`python sweeps/tune_method.py` is the same as `crowdml tune`."""

import sys

from crowdml.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]], script="python sweeps/tune_method.py"))
