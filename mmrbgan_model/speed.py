"""Cheaper steps: reduced precision, recomputed activations, micro-batches.

Each changes results by rounding at most; none changes a state dict.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmrbgan_arch.discriminator_arch import ResidualBlock
from mmrbgan_arch.layers import ConvLayer, UpConvLayer
from mmrbgan_arch.mmrb_arch import MMRB
from mmrbgan_arch.stylegan2_arch import StyleBlock, ToRGB
from mmrbgan_arch.support.errors import UsageError

_TYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
_RECOMPUTED = (ResidualBlock, MMRB, StyleBlock, ToRGB, UpConvLayer, ConvLayer)


def autocast(amp: str | None, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which networks and losses compute: ``bf16``, ``fp16`` or None for float32."""
    return torch.autocast(device.type, dtype=_TYPES.get(amp or '', torch.bfloat16), enabled=amp is not None)


def grad_scaler(amp: str | None, device: torch.device) -> torch.amp.GradScaler:
    """Return the scaler that keeps small fp16 gradients from vanishing; it does nothing for other types."""
    return torch.amp.GradScaler(device.type, enabled=amp == 'fp16')


def recompute_activations(network: nn.Module) -> None:
    """Let the blocks of ``network`` store their inputs only and recompute activations in the backward pass."""
    for module in _outermost(network, _RECOMPUTED):
        module.__class__ = _recomputing(type(module))  # type: ignore[arg-type]


def parts(batch: Mapping[str, Tensor | None], count: int) -> Iterator[dict[str, Tensor | None]]:
    """Split every tensor of a batch into ``count`` equal micro-batches.

    Raises:
        UsageError: the batch size is not a multiple of ``count``.
    """
    size = next(value.shape[0] for value in batch.values() if value is not None)
    if size % count:
        raise UsageError(f'train.accumulate: a batch of {size} cannot be cut into {count} equal parts')
    step = size // count
    for start in range(0, size, step):
        yield {key: None if value is None else value[start : start + step] for key, value in batch.items()}


class _Recomputing(nn.Module):
    """Mixed in before a block's own class, so that a deep copy uses its own weights."""

    def forward(self, *args: Any) -> Any:
        """Compute the block's forward pass again when its gradients are asked for."""
        if not torch.is_grad_enabled():
            return super().forward(*args)
        return checkpoint(super().forward, *args, use_reentrant=False, preserve_rng_state=False)


@functools.cache
def _recomputing(kind: type[nn.Module]) -> type[nn.Module]:
    return type(f'Recomputing{kind.__name__}', (_Recomputing, kind), {})


def _outermost(network: nn.Module, kinds: tuple[type, ...]) -> Iterator[nn.Module]:
    """Yield the outermost modules of ``kinds``."""
    for child in network.children():
        if isinstance(child, kinds):
            yield child
        else:
            yield from _outermost(child, kinds)
