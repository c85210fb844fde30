"""A method that needs more than one host."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowdml.aggregation import Aggregation, MajorityVote
from crowdml.labels import CrowdLabels


@dataclass(frozen=True)
class OnTwoHosts:
    """Majority vote that begins when two hosts have come to it, so that no test depends on how fast they are."""

    seconds: float = 180.0

    def fit(self, crowd: CrowdLabels, prior: Any = None) -> Aggregation:
        here = Path(os.environ["CROWDML_RESULTS"]).parent / "present"
        here.mkdir(exist_ok=True)
        (here / socket.gethostname()).touch()
        deadline = time.monotonic() + self.seconds
        while len(list(here.iterdir())) < 2:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{socket.gethostname()} is the only host that works")
            time.sleep(0.1)
        return MajorityVote().fit(crowd)
