"""A trained network in a folder, which predicts without the code of its method.

weights.pt    the state_dict of the whole model, including the parameters of noise and workers
network.pt2   the model as a program of torch.export, from normalised inputs to logits of the true class
model.json    the form of the items, the names of the classes, and the settings of the training
"""

from __future__ import annotations

import copy
import io
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

from crowdml.learning import parallel
from crowdml.support.whole_file import whole_file
from crowdml.training.items import Items
from crowdml.training.preparation import Preparation

WEIGHTS, PROGRAM, DESCRIPTION = "weights.pt", "network.pt2", "model.json"
_FORMAT = 2
# Most numbers and items per batch: 2048 small images, or a hundred images of 224 x 224 pixels.
_BATCH_VALUES, _MOST_ITEMS = 1 << 24, 2048
# Processes exchange predictions of this many items at a time, so that a device never holds all predictions.
_EXCHANGED_ITEMS = 32_768


class SavedModelError(ValueError):
    """A network cannot be saved, or cannot be loaded from a folder."""


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network that predicts classes of items.

    Args:
        logits: maps inputs (n, ...) to logits (n, n_classes), on the device.
        preparation: how items become inputs.
        classes: (n_classes,) the names of the classes.
        device: device of the network.
        settings: the settings of the training, as values for JSON.
    """

    logits: Callable[[Tensor], Tensor]
    preparation: Preparation
    classes: NDArray[Any]
    device: torch.device
    settings: Mapping[str, Any] = field(default_factory=dict)

    def predict_proba(self, items: Items, *, threads: int = 2) -> NDArray[np.float64]:
        """Return (n_items, n_classes) probabilities of the classes; rows sum to one.

        Under data parallelism every process must call this method.  Each process predicts its share of the items, and
        returns the probabilities of all items.  `threads` is the number of threads that decode streamed images.

        Raises:
            ValueError: the items are not of the kind that the network was trained on.
        """
        inputs = self.preparation.inputs(items, self.device, threads=threads)
        n_together = max(1, min(_MOST_ITEMS, _BATCH_VALUES // math.prod(self.preparation.in_shape)))
        if isinstance(self.logits, nn.Module) and self.logits.training:
            self.logits.eval()
        parts = []
        for places in torch.arange(len(items), device=self.device).split(_EXCHANGED_ITEMS):
            found = torch.zeros((len(places), len(self.classes)), dtype=torch.float64, device=self.device)
            mine = places.split(n_together)[parallel.rank() :: parallel.world_size()]
            with torch.inference_mode():
                for batch, (values,) in zip(mine, inputs.batches(mine), strict=True):
                    found[batch - places[0]] = self.logits(values).double().softmax(dim=1)
            parts.append(parallel.sum_over_processes(found).cpu())
        return torch.cat(parts).numpy()

    def save(self, folder: Path) -> None:
        """Write the three files into an existing folder.

        Raises:
            SavedModelError: the network was loaded from files, or torch.export cannot express the network.  In the
                second case the weights are written.
        """
        if not isinstance(self.logits, nn.Module):
            raise SavedModelError("this network was loaded from files; copy these files")
        model = copy.deepcopy(self.logits).cpu().eval()
        # Clone, because torch saves a view of a larger tensor with the whole larger tensor.
        own = {name: value.clone(memory_format=torch.contiguous_format) for name, value in model.state_dict().items()}
        model.load_state_dict(own, assign=True)
        with whole_file(folder / WEIGHTS) as temporary:
            torch.save(model.state_dict(), temporary)
        program = _exported(model, self.preparation.in_shape)
        with whole_file(folder / PROGRAM) as temporary, temporary.open("wb") as file:
            torch.export.save(program, file)
        description = {
            "format": _FORMAT,
            "classes": self.classes.tolist(),
            "inputs": asdict(self.preparation),
            "torch": torch.__version__,
            "settings": dict(self.settings),
        }
        with whole_file(folder / DESCRIPTION) as temporary:
            temporary.write_text(json.dumps(description, indent=1) + "\n")


class ExportedNetwork:
    """A network from a file of torch.export: maps inputs (n, ...) on the device to logits (n, n_classes).

    Pickle, copy and joblib take the bytes of the file, because torch cannot pickle the program that it reads.

    Args:
        archive: the bytes of the file.
        device: device of the network.
    """

    def __init__(self, archive: bytes, device: torch.device) -> None:
        self._archive, self._device = archive, device
        program = torch.export.load(io.BytesIO(archive))
        if device.type != "cpu":
            program = move_to_device_pass(program, device)
        self._module = program.module()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        return self._module(inputs)

    def __reduce__(self) -> tuple[type[ExportedNetwork], tuple[bytes, torch.device]]:
        return ExportedNetwork, (self._archive, self._device)


def load_network(folder: str | Path, device: torch.device | str = "cpu") -> TrainedNetwork:
    """Return the network that `save` wrote into a folder.  Load only files from people whom you trust.

    Raises:
        SavedModelError: files are missing or cannot be read; the message says which.
    """
    place, device = Path(folder), torch.device(device)
    for name in (DESCRIPTION, PROGRAM):
        if not (place / name).is_file():
            raise SavedModelError(f"{place} holds no trained network: {name} is missing")
    try:
        description = json.loads((place / DESCRIPTION).read_text())
        if description["format"] != _FORMAT:
            raise SavedModelError(
                f"{place / DESCRIPTION} has the format {description['format']}; this version reads {_FORMAT}"
            )
        preparation = Preparation(**description["inputs"])
        classes, settings, made_by = np.asarray(description["classes"]), description["settings"], description["torch"]
    except (ValueError, KeyError, TypeError) as error:
        raise SavedModelError(f"{place / DESCRIPTION} cannot be read: {error}") from error
    try:
        logits = ExportedNetwork((place / PROGRAM).read_bytes(), device)
    except Exception as error:  # the reader of archives raises almost anything
        raise SavedModelError(
            f"{place / PROGRAM}, written by torch {made_by}, cannot be read by torch {torch.__version__}: {error}"
        ) from error
    return TrainedNetwork(logits, preparation, classes, device, settings)


def _exported(model: nn.Module, in_shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    # Two items, because the tracer treats a size of one as a constant.
    example = torch.zeros((2, *in_shape))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("n_items")},))
    except Exception as error:  # the tracer raises whatever the model's code makes it raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SavedModelError(
            f"torch.export cannot express this network ({reason}); only its weights are written, as {WEIGHTS}"
        ) from error
