"""Import torchvision, even if its compiled operators do not load.

pip may install a torchvision that was built for another torch, such as a CUDA build with a CPU torch.  Its operators
then do not load, and `import torchvision` fails because `torchvision::nms` is missing.  The data sets need no operator.
So this module declares the missing operators without an implementation, and imports torchvision again.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

_DECLARED = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[object] = []  # keep each Library alive, because its operators vanish with the object


def import_torchvision() -> ModuleType:
    """Return the module torchvision, with `torchvision.datasets` ready for use.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: the import fails for a reason other than the missing operators.
    """
    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    # Remove the submodules that the failed import left behind.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    from torch.library import Library

    library = Library("torchvision", "FRAGMENT")
    for schema in _DECLARED:
        library.define(schema)
    _libraries.append(library)
    return import_module("torchvision")
