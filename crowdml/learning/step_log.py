"""StepLog: the loss terms of every step of an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from crowdml.learning import parallel
from crowdml.learning.learner import LossTerms


class StepLog:
    """Stores the loss terms of `n_steps` steps on the device, so that no step waits for a transfer."""

    def __init__(self, device: torch.device, n_steps: int) -> None:
        self._device, self._n_steps = device, n_steps
        self._names: tuple[str, ...] = ()
        self._values = torch.empty(0)
        self._sizes: list[int] = []

    def keep(self, step: int, terms: LossTerms, size: int) -> None:
        """Store the loss terms of a step with `size` items.  Steps count from 0."""
        if step == 0:
            self._names = tuple(terms)
            self._values = torch.zeros((self._n_steps, len(terms)), device=self._device)
        self._values[step] = torch.stack([term.detach() for term in terms.values()])
        self._sizes.append(size)

    def means(self, error: Callable[[int, str, float], Exception]) -> dict[str, float]:
        """Return the mean loss over all items and processes as "loss", and the mean of each term if there are several.

        Raises:
            Exception: a term is not finite; the exception is `error(step, term, value)` for the first such step.
        """
        sizes = torch.tensor(self._sizes, dtype=torch.float32, device=self._device)
        totals = torch.cat([sizes @ self._values, sizes.sum()[None]])
        *sums, n_items = parallel.sum_over_processes(totals).tolist()
        values = self._values.tolist()
        for step, row in enumerate(values):
            for name, value in zip(self._names, row, strict=True):
                if not math.isfinite(value):
                    raise error(step, name, value)
        if not all(map(math.isfinite, sums)):
            raise error(len(values) - 1, "of another process", math.nan)
        means = {name: total / n_items for name, total in zip(self._names, sums, strict=True)}
        return {"loss": sum(means.values()), **(means if len(means) > 1 else {})}
