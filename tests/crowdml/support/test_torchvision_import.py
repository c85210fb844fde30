"""Importing torchvision without its operators, with a stand-in package that fails like the real package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


def run_python(script: str, path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{REPOSITORY}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fake_torchvision(folder: Path, meta: str) -> Path:
    """Write a package torchvision that imports one submodule, then a submodule `meta`, like the real package."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("import torchvision.first\nfrom . import meta, datasets\n")
    (package / "first.py").write_text("")
    (package / "meta.py").write_text(meta)
    (package / "datasets.py").write_text("")
    return folder


def test_torchvision_without_its_operators_is_imported(tmp_path: Path):
    meta = (
        "import torch\n"
        "for name in ('nms', 'qnms'):\n"
        "    torch.library.register_fake(f'torchvision::{name}')(lambda dets, scores, iou_threshold: dets)\n"
    )
    script = (
        "import gc, sys\n"
        "from crowdml.support.torchvision_import import import_torchvision\n"
        "module = import_torchvision(); gc.collect()\n"
        "import torch\n"
        "assert module.first is sys.modules['torchvision.first'] and module.datasets\n"
        "assert import_torchvision() is module\n"
        "print(torch.ops.torchvision.nms)\n"
    )
    assert "torchvision.nms" in run_python(script, fake_torchvision(tmp_path, meta))


def test_other_failures_of_torchvision_are_not_hidden(tmp_path: Path):
    script = (
        "from crowdml.support.torchvision_import import import_torchvision\n"
        "try: import_torchvision()\n"
        "except RuntimeError as error: print(error)\n"
    )
    output = run_python(script, fake_torchvision(tmp_path, "raise RuntimeError('something else')"))
    assert output.strip() == "something else"
