"""Data-parallel training: what one of several processes does differently.

Whoever starts the processes (Ray Train, torchrun) initialises torch.distributed; without it, every function here does
nothing.  All processes draw the same order of the items, and each takes its share of every batch.
"""

from __future__ import annotations

from torch import Tensor, distributed, nn


def world_size() -> int:
    """Number of processes that train together."""
    return distributed.get_world_size() if _active() else 1


def rank() -> int:
    """Number of this process among them."""
    return distributed.get_rank() if _active() else 0


def wrap(module: nn.Module) -> nn.Module:
    """The module, averaging gradients over the processes."""
    return nn.parallel.DistributedDataParallel(module) if world_size() > 1 else module


def agree(model: nn.Module) -> None:
    """Give every process the running statistics of the first; each has its own, of its share of the batches."""
    if world_size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


def share(batch: Tensor) -> Tensor:
    """This process's share of a batch of item indices."""
    return batch[rank() :: world_size()]


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor over the processes, in place."""
    if world_size() > 1:
        distributed.all_reduce(values)
    return values


def _active() -> bool:
    return distributed.is_available() and distributed.is_initialized()
