"""A trained network with all that predicting takes: kept in a folder, and used without the code of its method.

Three files: `weights.pt`, the state_dict of the whole model, what the method learned of noise and workers included;
`network.pt2`, the same model as a program of torch.export, from normalised inputs to logits of the true class; and
`model.json`, which says what the items and the classes are.
"""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from crowdml.training.items import Items
from crowdml.training.preparation import Preparation

WEIGHTS, PROGRAM, DESCRIPTION = "weights.pt", "network.pt2", "model.json"
_FORMAT = 1
# Numbers in a batch of inputs: 2048 small images, or a hundred of 224 x 224 pixels.
_BATCH_VALUES, _MOST_ITEMS = 1 << 24, 2048


class SavedModelError(ValueError):
    """A folder that holds no trained network, or one that cannot be saved or read."""


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network that predicts classes of items.

    Args:
        logits: inputs (n, ...) to logits (n, n_classes), on the device.
        preparation: how items become inputs.
        classes: (n_classes,) their names.
        device: where it predicts.
        settings: how it came about: JSON-able values, kept for the record.
    """

    logits: Callable[[Tensor], Tensor]
    preparation: Preparation
    classes: NDArray[Any]
    device: torch.device
    settings: Mapping[str, Any] = field(default_factory=dict)

    def predict_proba(self, items: Items) -> NDArray[np.float64]:
        """(n_items, n_classes) probabilities of the classes; rows sum to one.

        Raises:
            ValueError: the items are not such as it was trained on.
        """
        inputs = self.preparation.inputs(items, self.device)
        n_together = max(1, min(_MOST_ITEMS, _BATCH_VALUES // math.prod(self.preparation.in_shape)))
        places = torch.arange(len(items), device=self.device).split(n_together)
        if isinstance(self.logits, nn.Module) and self.logits.training:
            self.logits.eval()
        with torch.inference_mode():
            parts = [self.logits(batch).double().softmax(dim=1).cpu() for (batch,) in inputs.batches(places)]
        return torch.cat(parts).numpy()

    def save(self, folder: Path) -> None:
        """Write the three files into a folder that is there.

        Raises:
            SavedModelError: it was loaded from files, or torch.export has no form for it; the weights are written even
                then.
        """
        if not isinstance(self.logits, nn.Module):
            raise SavedModelError("this network was loaded from files; copy those")
        model = copy.deepcopy(self.logits).cpu().eval()
        # A tensor that is a view of a larger one would be saved with all of it.
        own = {name: value.clone(memory_format=torch.contiguous_format) for name, value in model.state_dict().items()}
        model.load_state_dict(own, assign=True)
        torch.save(model.state_dict(), folder / WEIGHTS)
        torch.export.save(_exported(model, self.preparation.in_shape), folder / PROGRAM)
        description = {
            "format": _FORMAT,
            "classes": self.classes.tolist(),
            "inputs": asdict(self.preparation),
            "torch": torch.__version__,
            "settings": dict(self.settings),
        }
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")


def load_network(folder: str | Path, device: torch.device | str = "cpu") -> TrainedNetwork:
    """The network that `save` put into a folder.  Take only files from those whom you trust.

    Raises:
        SavedModelError: files are missing or cannot be read; says which.
    """
    place, device = Path(folder), torch.device(device)
    for name in (DESCRIPTION, PROGRAM):
        if not (place / name).is_file():
            raise SavedModelError(f"{place} holds no trained network: {name} is missing")
    try:
        description = json.loads((place / DESCRIPTION).read_text())
        if description["format"] != _FORMAT:
            raise SavedModelError(f"{place / DESCRIPTION} has the format {description['format']}, here {_FORMAT}")
        preparation = Preparation(**description["inputs"])
        classes, settings, made_by = np.asarray(description["classes"]), description["settings"], description["torch"]
    except (ValueError, KeyError, TypeError) as error:
        raise SavedModelError(f"{place / DESCRIPTION} cannot be read: {error}") from error
    try:
        program = torch.export.load(place / PROGRAM)
        if device.type != "cpu":
            program = move_to_device_pass(program, device)
        logits = program.module().__call__
    except Exception as error:  # the reader of archives raises almost anything
        raise SavedModelError(
            f"{place / PROGRAM}, written by torch {made_by}, cannot be read by torch {torch.__version__}: {error}"
        ) from error
    return TrainedNetwork(logits, preparation, classes, device, settings)


def _exported(model: nn.Module, in_shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    # Of two items, for a size of one would be taken for a constant.
    example = torch.zeros((2, *in_shape))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("n_items")},))
    except Exception as error:  # whatever the model's code made the tracer stumble over
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SavedModelError(
            f"torch.export has no form for this network ({reason}); its weights are in {WEIGHTS}"
        ) from error
