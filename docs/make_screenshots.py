"""Make the pictures of a running sweep in docs/figures.

    pip install tensorboard
    python docs/make_screenshots.py

This script starts a sweep of label-only cells on a Ray of its own.  While the sweep runs, the script takes pictures of
the live screen of `crowdml watch` (SVG), and of Ray's dashboard and TensorBoard in headless Chromium (PNG).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from rich.console import Console

from crowdml.cli.sweeping.status import title
from sweeps.store.result_store import ResultStore
from sweeps.watching.live_view import view
from sweeps.watching.run_record import RunState, live_runs

Found = TypeVar("Found")

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
SWEEP = [
    "--preset", "labels", "--datasets", "digits", "--methods", "mv", "em", "wawa", "glad", "ibcc",
    "--seeds", "0", "1", "2", "3", "4", "5", "--address", "local",
]  # fmt: skip
TAKEN_AT = 0.3  # take the pictures when this share of the cells is done
_PATIENCE_SECONDS, _LOADING_SECONDS = 300.0, 12.0


def main() -> int:
    """Make all pictures and return the exit code."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None or shutil.which("tensorboard") is None:
        print("make_screenshots.py: error: chromium and tensorboard must be installed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="crowdml-screens-") as folder:
        results, output = Path(folder) / "results", Path(folder) / "output"
        with _sweep(results, output) as dashboard, _tensorboard(results / "tensorboard") as scalars:
            run = _wait_until_halfway(results)
            _live_view(run)
            _picture(chromium, f"{dashboard}/#/jobs", FIGURES / "dashboard.png")
            _picture(
                chromium, f"{scalars}/?darkMode=false&tagFilter=cells%7Ctime#timeseries", FIGURES / "tensorboard.png"
            )
    return 0


@contextlib.contextmanager
def _sweep(results: Path, output: Path) -> Iterator[str]:
    """Run a sweep in its own process; yield the address of the dashboard."""
    command = ["python", "sweeps/full_grid.py", *SWEEP, "--results", str(results)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with output.open("w") as stream, _ended(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream)):
        yield "http://" + _wait(lambda: re.search(r"dashboard (?:http://)?(\S+)", output.read_text())).group(1)


@contextlib.contextmanager
def _tensorboard(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["tensorboard", "--logdir", str(folder), "--port", str(port), "--reload_interval", "2"]
    with _ended(subprocess.Popen(command, stderr=subprocess.DEVNULL)):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Terminate the process when the block ends."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_halfway(results: Path) -> RunState:
    def halfway() -> RunState | None:
        runs = live_runs(ResultStore(results))
        snapshot = runs[0].last_snapshot() if runs else None
        return runs[0] if snapshot is not None and snapshot.n_done > TAKEN_AT * snapshot.n_cells else None

    return _wait(halfway)


def _live_view(run: RunState) -> None:
    snapshot = run.last_snapshot()
    assert snapshot is not None
    console = Console(record=True, width=130, height=30, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(view(snapshot, title=title(run), width=130, height=30))
    console.save_svg(str(FIGURES / "live-view.svg"), title="crowdml watch results")


def _picture(chromium: str, address: str, target: Path, *, size: tuple[int, int] = (1400, 900)) -> None:
    """Write a picture of a page after its scripts have run in a browser."""
    _wait(lambda: _answers(address))
    with tempfile.TemporaryDirectory(prefix="crowdml-browser-", ignore_cleanup_errors=True) as profile:
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--remote-debugging-port=0", address,
        ]  # fmt: skip
        port_file = Path(profile) / "DevToolsActivePort"
        with _ended(subprocess.Popen(command, stderr=subprocess.DEVNULL)):
            port = _wait(lambda: port_file.exists() and port_file.read_text().split()[0])
            target.write_bytes(asyncio.run(_photograph(f"http://127.0.0.1:{port}/json/list", size)))


async def _photograph(pages: str, size: tuple[int, int]) -> bytes:
    async with aiohttp.ClientSession() as session:
        async with session.get(pages) as reply:
            page = next(entry for entry in await reply.json() if entry["type"] == "page")
        async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as devtools:

            async def ask(number: int, method: str, **parameters: object) -> dict[str, Any]:
                await devtools.send_json({"id": number, "method": method, "params": parameters})
                while (answer := await devtools.receive_json()).get("id") != number:
                    pass
                return answer["result"]

            screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
            await ask(1, "Emulation.setDeviceMetricsOverride", **screen)
            await asyncio.sleep(_LOADING_SECONDS)
            picture = await ask(2, "Page.captureScreenshot", format="png")
    return base64.b64decode(picture["data"])


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address.partition("#")[0], timeout=5):
            return True
    except OSError:
        return False


def _wait(look: Callable[[], Found | None]) -> Found:
    """Call `look` until it returns something true, and return this."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no result within {_PATIENCE_SECONDS:.0f} s")
        time.sleep(0.5)
    return found


if __name__ == "__main__":
    sys.exit(main())
