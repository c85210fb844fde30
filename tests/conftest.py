"""Fixtures that several test files use."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# One for all Rays of the tests and the processes they start: Ray's core reads it once a process, so a test that set its
# own would leave later ones unable to reach a Ray that was started with another.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("ci")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets, or a skip."""
    root = os.environ.get("CROWDML_DATA_ROOT")
    if not root:
        pytest.skip("CROWDML_DATA_ROOT is not set: no real data sets here")
    return Path(root)
