"""The numbers of a run at the Prometheus endpoint of a Ray of its own, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
import time, urllib.request
import ray
from sweeps.watching.metrics import RayMetrics
from tests.sweeps.watching.test_live_view import FULL

ray.init("local", num_cpus=1, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False,
         _system_config={"metrics_report_interval_ms": 500})
sink = RayMetrics("run-1")
port = ray.nodes()[0]["MetricsExportPort"]
deadline = time.monotonic() + 60
text = ""
while "crowdml_best" not in text and time.monotonic() < deadline:
    sink(FULL)
    time.sleep(1)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        text = reply.read().decode()
print("\\n".join(line for line in text.splitlines() if line.startswith("ray_crowdml")))
"""


@pytest.mark.slow
def test_the_numbers_are_at_the_prometheus_endpoint() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=180)
    lines = [line for line in done.stdout.splitlines() if 'run_id="run-1"' in line]
    assert done.returncode == 0, done.stderr
    found = {tuple(part for part in line.split("{")[0:1]) + tuple(labels(line)): value(line) for line in lines}
    assert found["ray_crowdml_cells_done",] == 25
    assert found["ray_crowdml_cells_failed",] == 2
    assert found["ray_crowdml_eta_seconds",] == 75
    assert found["ray_crowdml_share_in_cells",] == 0.875
    assert found["ray_crowdml_axis_cells_done", "method", "mv"] == 5
    assert found["ray_crowdml_best", "aggregation_error", "flip 0 workers"] == 0.125


def labels(line: str) -> list[str]:
    pairs = dict(part.split("=", 1) for part in line.split("{")[1].split("}")[0].replace('"', "").split(","))
    return [pairs[name] for name in ("axis", "value", "measure", "panel") if name in pairs]


def value(line: str) -> float:
    return float(line.rpartition(" ")[2])
