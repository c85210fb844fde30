"""Data-parallel training: functions that make several training processes work together.

The program that starts the processes (Ray Train or torchrun) initialises torch.distributed.  Otherwise there is one
process, and these functions change nothing.  All processes draw the same order of the items, and each process takes its
share of every batch.
"""

from __future__ import annotations

from torch import Tensor, distributed, nn


def world_size() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if _active() else 1


def rank() -> int:
    """Return the number of this process, from 0 to `world_size() - 1`."""
    return distributed.get_rank() if _active() else 0


def wrap(module: nn.Module) -> nn.Module:
    """Return a module that averages its gradients over the processes."""
    return nn.parallel.DistributedDataParallel(module) if world_size() > 1 else module


def agree(model: nn.Module) -> None:
    """Copy the buffers of the model from the first process to all others."""
    # Each process has updated the running statistics of batch normalisation with its own share of the batches.
    if world_size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


def share(batch: Tensor) -> Tensor:
    """Return the share of a batch of item indices that this process trains on."""
    return batch[rank() :: world_size()]


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum a tensor over the processes in place, and return it."""
    if world_size() > 1:
        distributed.all_reduce(values)
    return values


def _active() -> bool:
    return distributed.is_available() and distributed.is_initialized()
