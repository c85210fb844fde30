"""Predictions of trained networks, and their accuracy on the test items."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from crowdml.learning import parallel
from crowdml.learning.inputs import Inputs
from crowdml.learning.recipe import Recipe
from crowdml.learning.task import Task


class SeveralNetworks(nn.Module):
    """Networks that are trained together.  Their joint prediction is the mean of their probabilities."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def member_logits(self, inputs: Tensor) -> Tensor:
        """Return the logits of each network, (n_networks, n, n_classes)."""
        return torch.stack([network(inputs) for network in self.networks])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logarithms of the mean probabilities, (n, n_classes); they serve as logits."""
        logits = self.member_logits(inputs).float()
        return logits.log_softmax(dim=2).logsumexp(dim=0) - torch.log(torch.tensor(float(len(logits))))


def predict_members(model: nn.Module, task: Task, inputs: Inputs, items: Tensor | None = None) -> Tensor:
    """Return the probabilities that each network of a model predicts, (n_networks, n, n_classes) float32.

    A model that is not a `SeveralNetworks` counts as one network.  Under data parallelism each process predicts for its
    share of the items, and every process gets all predictions.

    Args:
        model: a trained model.
        task: the task of the training.
        inputs: inputs of the items.
        items: (n,) indices into `inputs`; by default all.
    """
    was_training = model.training
    model.eval()
    wanted = torch.arange(len(inputs), device=task.device) if items is None else items.to(task.device)
    n_networks = len(model.networks) if isinstance(model, SeveralNetworks) else 1
    probabilities = torch.zeros((n_networks, len(wanted), task.n_classes), device=task.device)
    with torch.inference_mode(), autocast(task.settings.recipe, task.device):
        places = list(_shares(len(wanted), inputs.predict_batch, task.device))
        for place, (batch,) in zip(places, inputs.batches([wanted[place] for place in places]), strict=True):
            logits = model.member_logits(batch) if isinstance(model, SeveralNetworks) else model(batch)[None]
            probabilities[:, place] = logits.float().softmax(dim=2)
    model.train(was_training)
    return parallel.sum_over_processes(probabilities)


def predict_proba(model: nn.Module, task: Task, inputs: Inputs, items: Tensor | None = None) -> Tensor:
    """Return the predicted probabilities (n, n_classes) float32, averaged over the networks; see `predict_members`."""
    return predict_members(model, task, inputs, items).mean(dim=0)


def accuracies(model: nn.Module, task: Task) -> dict[str, float]:
    """Return the accuracies on the test items by the name of their learning curve, or an empty dict without test items.

    "test_accuracy" is the accuracy of the network.  For several networks it is the mean of their accuracies, as the
    papers report it, and "ensemble_test_accuracy" is the accuracy of their mean prediction.
    """
    if task.test_inputs is None or task.test_labels is None:
        return {}
    members = predict_members(model, task, task.test_inputs)
    found = {"test_accuracy": float((members.argmax(dim=2) == task.test_labels).float().mean())}
    if len(members) > 1:
        together = members.mean(dim=0).argmax(dim=1)
        found["ensemble_test_accuracy"] = float((together == task.test_labels).float().mean())
    return found


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """Return the context in which networks run with the precision of the recipe."""
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    enabled = recipe.precision == "bfloat16" or (recipe.precision == "auto" and has_bfloat16)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _shares(n_items: int, size: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the item positions that this process predicts, batch by batch; no batch is empty."""
    for batch in torch.arange(n_items, device=device).split(size * parallel.world_size()):
        mine = parallel.share(batch)
        if len(mine):
            yield mine
