"""Several processes that train one model: gradients are averaged by hand, as StyleGAN3 does.

No wrapper around the networks means that frozen layers, loss terms that are off and several passes through one network
never leave a process waiting. Every function is harmless in a run of one process.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def rank_and_size() -> tuple[int, int]:
    """Return this process's rank and the number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes, bit for bit the same on every rank.

    Which parameters have a gradient follows from the options and the iteration, so it is the same on every rank.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    size = rank_and_size()[1]
    if size == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= size
    pieces = flat.split([gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view_as(gradient))


def average_values(values: Mapping[str, float]) -> dict[str, float]:
    """Return the mean over the processes of each value; every rank calls it with the same keys."""
    size = rank_and_size()[1]
    if size == 1 or not values:
        return dict(values)
    everyone = gather(dict(values))
    return {key: sum(one[key] for one in everyone) / size for key in values}


def gather(value: Any) -> list[Any]:
    """Return every rank's ``value``, in the order of the ranks, on every rank."""
    size = rank_and_size()[1]
    if size == 1:
        return [value]
    box: list[Any] = [None] * size
    dist.all_gather_object(box, value)
    return box


def copy_first(networks: Iterable[nn.Module]) -> None:
    """Copy the first rank's parameters and buffers to every rank."""
    if rank_and_size()[1] > 1:
        for tensor in (tensor for network in networks for tensor in network.state_dict().values()):
            tensor.copy_(_firsts(tensor))


def differing(networks: Mapping[str, nn.Module]) -> list[str]:
    """Return the names of the networks whose tensors differ between ranks in any bit."""
    if rank_and_size()[1] == 1:
        return []
    return [name for name, network in networks.items() if not _agrees(list(network.state_dict().values()))]


def _agrees(tensors: list[Tensor]) -> bool:
    """Compare this rank's tensors with the first rank's; every rank gets the same answer."""
    same = torch.ones((), device=tensors[0].device)
    for tensor in tensors:
        same *= torch.equal(_bits(_firsts(tensor)), _bits(tensor))
    dist.all_reduce(same, op=dist.ReduceOp.MIN)
    return bool(same.item())


def _firsts(tensor: Tensor) -> Tensor:
    """Return the first rank's ``tensor``, contiguous, as collectives require."""
    first = torch.empty_like(tensor, memory_format=torch.contiguous_format).copy_(tensor)
    dist.broadcast(first, src=0)
    return first


def _bits(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)
