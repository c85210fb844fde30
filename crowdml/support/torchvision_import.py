"""The one way torchvision is imported here: lazily, and also where its compiled operators do not load.

A torchvision wheel built for another torch (a CUDA build beside a CPU torch, as pip may pair them) leaves its
operators out, and then fails in the middle of its own import for want of `torchvision::nms`.  The data sets need no
operator, so the missing ones are declared, without an implementation, and the import is tried again.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

_DECLARED = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[object] = []  # a Library withdraws its operators when it is collected


def import_torchvision() -> ModuleType:
    """The module torchvision, with `torchvision.datasets` ready for use.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: its import fails for another reason than the missing operators.
    """
    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    # The failed import leaves submodules behind that belong to a package which is gone.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declare_operators()
    return import_module("torchvision")


def _declare_operators() -> None:
    from torch.library import Library

    library = Library("torchvision", "FRAGMENT")
    for schema in _DECLARED:
        library.define(schema)
    _libraries.append(library)
