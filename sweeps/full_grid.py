"""`python sweeps/full_grid.py`: the same as `crowdml sweep`."""

import signal
import sys

from crowdml.cli.sweeping.sweep import EXIT_TERMINATED, main

if __name__ == "__main__":
    # A run that is told to end records its end, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    sys.exit(main())
