"""How the convolutions of the folded network are computed: directly or, where it pays, in Winograd's domain."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..support.memory import give_back_memory
from .kernels import constant, convolve, convolve_parts, joined, modulation, scaled_
from .winograd import WinogradConv2d

T = TypeVar('T')
WINOGRAD_SIZE, WINOGRAD_CHANNELS = 32, 64  # on smaller maps the larger weights cost more than the products saved
# Tiles of 4x4 outputs from this size of maps and up to these weights in bytes; else 2x2, which weigh half as much.
LARGE_TILES, LARGE_WEIGHTS = 64, 64 * 2**20


@dataclass(frozen=True)
class Plan:
    """How the convolutions are computed."""

    dtype: torch.dtype
    """Of feature maps and weights; styles and images stay at least float32."""
    winograd: bool
    """Large 3x3 and 5x5 convolutions in Winograd's domain."""
    release: bool = False
    """Free each layer of the training form as soon as it is folded."""

    def fold(self, kind: Callable[..., T], layer: nn.Module, *arguments: Any) -> T:
        """Return ``kind(layer, *arguments)`` and free the layer if wished."""
        folded = kind(layer, *arguments)
        if self.release:
            for parameter in layer.parameters():
                parameter.data = parameter.new_empty(0)
            give_back_memory()
        return folded

    def convolution(self, weight: Tensor, bias: Tensor | None, size: int, slope: float | None = None) -> 'Convolution':
        """A convolution with stride 1 for maps of this size."""
        pays = size >= WINOGRAD_SIZE and weight.shape[1] >= WINOGRAD_CHANNELS
        if self.winograd and pays:
            large = (weight.shape[-1] + 3) ** 2 * weight[:, :, 0, 0].numel() * self.dtype.itemsize
            outputs = 4 if size >= LARGE_TILES and large <= LARGE_WEIGHTS else 2
            return WinogradConv2d(weight.to(self.dtype), None if bias is None else bias.to(self.dtype), slope, outputs)
        return DirectConv2d(weight, bias, self.dtype, slope=slope, padding=weight.shape[-1] // 2)


class DirectConv2d(nn.Module):
    """Convolution with constant weights, optional bias and leaky ReLU, in one pass where the backend has it.

    Takes what ``WinogradConv2d`` takes, without margins.
    """

    weight: Tensor
    bias: Tensor | None
    margin = 0

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        *,
        slope: float | None = None,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.register_buffer('weight', constant(weight, dtype))
        self.register_buffer('bias', None if bias is None else constant(bias, dtype))
        self.stride, self.padding, self.slope = stride, padding, slope

    def forward(
        self,
        parts: list[Tensor],
        style: Tensor | None = None,
        gain: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """See ``WinogradConv2d.forward``."""
        if style is None or gain is None:
            result = self._plain(parts)
        else:
            assert self.bias is not None
            result = self._modulated(parts, style, gain, self.bias)
        return result if out is None else out.copy_(result)

    def _plain(self, parts: list[Tensor]) -> Tensor:
        if len(parts) == 1:
            return convolve(parts[0], self.weight, self.bias, self.stride, self.padding, slope=self.slope)
        assert self.stride == 1 and self.bias is not None
        return convolve_parts(parts, self.weight, self.bias, self.padding, slope=self.slope)

    def _modulated(self, parts: list[Tensor], style: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        if len(style) == 1:
            weight = self.weight * modulation(style, gain, self.weight.dtype)
            return convolve_parts(parts, weight, bias, self.padding, slope=self.slope)
        result = F.conv2d(joined(parts, style), self.weight, padding=self.padding)
        return scaled_(result, gain, bias, self.slope)


Convolution = WinogradConv2d | DirectConv2d
