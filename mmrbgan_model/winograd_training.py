"""Wide convolutions of training on a CPU in Winograd's domain (Lavin and Gray, CVPR 2016, arXiv 1509.09308).

Forward pass and both gradients of a 3x3 convolution take a quarter of the multiplications, of a 5x5 one less than a
sixth, and differ from the direct ones by float32's rounding. The matrices are those of
``mmrbgan_arch.inference.winograd``.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mmrbgan_arch.inference.winograd import STRIP_BYTES, scratch, transforms

TILE = 4  # side of a tile of outputs
MIN_SIZE, MIN_CHANNELS = 32, 96  # below, the transforms cost more than the multiplications saved
_TAPS = (3, 5)


class WinogradConvolutions(TorchFunctionMode):
    """Within this context every ``conv2d`` that gains by it, of whichever network, goes through Winograd's domain."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See ``TorchFunctionMode``."""
        kwargs = kwargs or {}
        if function is torch.conv2d and _pays(*args, **kwargs):
            x, weight, bias = _operands(*args, **kwargs)
            return _Convolution.apply(x, weight, bias)
        return function(*args, **kwargs)


def _operands(x: Tensor, weight: Tensor, bias: Tensor | None = None, *_: Any, **__: Any) -> tuple[Any, ...]:
    return x, weight, bias


def _pays(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    height, width = x.shape[-2:]
    taps = weight.shape[-1]
    plain = groups == 1 and _pair(stride) == _pair(dilation) == (1, 1) and _pair(padding) == (taps // 2, taps // 2)
    known = taps in _TAPS and weight.shape[-2] == taps and height % TILE == width % TILE == 0
    wide = min(height, width) >= MIN_SIZE and min(weight.shape[:2]) >= MIN_CHANNELS
    return plain and known and wide and x.device.type == 'cpu' and x.dtype == weight.dtype == torch.float32


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, list | tuple) else value


class _Convolution(torch.autograd.Function):
    """x (b, in, h, w), weight (out, in, k, k), bias (out,) -> (b, out, h, w), with stride 1 and padding k // 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return convolve(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # the R1 penalty differentiates this gradient again
            sizes = [weight.shape[0]] if ctx.has_bias else None
            padding, wanted = [weight.shape[-1] // 2] * 2, list(ctx.needs_input_grad)
            return torch.ops.aten.convolution_backward(
                gradient, x, weight, sizes, [1, 1], padding, [1, 1], False, [0, 0], 1, wanted
            )
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            convolve(gradient, weight.flip(2, 3).transpose(0, 1)) if to_x else None,
            weight_gradient(x, gradient, weight.shape[-1]) if to_weight else None,
            gradient.sum(dim=(0, 2, 3)) if to_bias else None,
        )


class _Matrices(NamedTuple):
    """Transforms of flattened tiles, float32; p points."""

    collect: Tensor
    """(TILE**2, p): products -> outputs."""
    spread: Tensor
    """(p, p): inputs -> points."""
    evaluate: Tensor
    """(p, k k): weights -> points."""


@functools.cache
def _matrices(taps: int) -> _Matrices:
    with torch.inference_mode(False):  # so that they serve in any mode
        return _Matrices(*(torch.kron(matrix, matrix).float() for matrix in transforms(taps, TILE)))


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Correlate (b, in, h, w) with (out, in, k, k), padding k // 2, add the bias -> (b, out, h, w), channels last."""
    outputs, inputs, taps, _ = weight.shape
    matrices = _matrices(taps)
    points = len(matrices.spread)
    turned = matrices.evaluate @ weight.permute(2, 3, 1, 0).reshape(taps**2, -1)
    turned = turned.view(points, inputs, outputs)
    size = x.shape[0], outputs, *x.shape[2:]
    result = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
    for windows, target in _strips(x, result.permute(0, 2, 3, 1), taps, max(inputs, outputs), STRIP_BYTES):
        tiles = target[0, 0, ..., 0].numel()
        first, second = scratch(2, points * tiles * max(inputs, outputs), x)
        spread = _transform(matrices.spread, windows, first, second).view(points, tiles, inputs)
        products = first[: points * tiles * outputs].view(points, tiles, outputs)
        torch.bmm(spread, turned, out=products)
        collected = second[: target.numel()].view(TILE**2, -1)
        torch.mm(matrices.collect, products.view(points, -1), out=collected)
        if bias is None:
            target.copy_(collected.view(target.shape))
        else:
            torch.add(collected.view(target.shape), bias, out=target)
    return result


def weight_gradient(x: Tensor, gradient: Tensor, taps: int) -> Tensor:
    """Input (b, in, h, w) and gradient of the output (b, out, h, w) -> gradient of the weight (out, in, k, k)."""
    inputs, outputs = x.shape[1], gradient.shape[1]
    matrices = _matrices(taps)
    points = len(matrices.spread)
    total = x.new_zeros(points, inputs, outputs)
    strip_bytes = max(STRIP_BYTES, total.numel() * total.element_size())  # each strip reads and writes the total once
    rows = gradient.permute(0, 2, 3, 1).contiguous()
    for windows, tiles in _strips(x, rows, taps, max(inputs, outputs), strip_bytes):
        count = tiles[0, 0, ..., 0].numel()
        first, second, third = scratch(3, points * count * max(inputs, outputs), x)
        spread = _transform(matrices.spread, windows, first, second).view(points, count, inputs)
        returned = _transform(matrices.collect.t(), tiles, first, third).view(points, count, outputs)
        total.baddbmm_(spread.transpose(1, 2), returned)
    summed = matrices.evaluate.t() @ total.view(points, -1)
    return summed.view(taps, taps, inputs, outputs).permute(3, 2, 0, 1)


def _transform(matrix: Tensor, tiles: Tensor, gathered: Tensor, out: Tensor) -> Tensor:
    """Multiply tiles (t, t, rows, columns, c) by matrix (p, t t) -> (p, rows columns c) in ``out``."""
    source = gathered[: tiles.numel()].view(tiles.shape)
    source.copy_(tiles)
    flat = source.view(matrix.shape[1], -1)
    return torch.mm(matrix, flat, out=out[: len(matrix) * flat.shape[1]].view(len(matrix), -1))


def _strips(x: Tensor, maps: Tensor, taps: int, channels: int, strip_bytes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut into strips of tiles whose scratch space has at most ``strip_bytes``, if one row of tiles has no more.

    Yields:
        Overlapping windows (t, t, rows, columns, in) of x (b, in, h, w) with its margin, and the tiles
        (TILE, TILE, rows, columns, out) of maps (b, h, w, out) in the same places.
    """
    side = taps + TILE - 1
    framed = _framed(x, taps // 2)
    row_bytes = side**2 * (x.shape[-1] // TILE) * channels * x.element_size()
    step = max(1, strip_bytes // row_bytes)
    for image, target in zip(framed, maps, strict=True):
        windows = image.unfold(0, side, TILE).unfold(1, side, TILE).permute(3, 4, 0, 1, 2)
        tiles = target.unflatten(0, (-1, TILE)).unflatten(2, (-1, TILE)).permute(1, 3, 0, 2, 4)
        for row in range(0, tiles.shape[2], step):
            yield windows[:, :, row : row + step], tiles[:, :, row : row + step]


def _framed(x: Tensor, margin: int) -> Tensor:
    """(b, c, h, w) -> (b, h + 2 margin, w + 2 margin, c), zeros around."""
    batch, channels, height, width = x.shape
    framed = x.new_zeros(batch, height + 2 * margin, width + 2 * margin, channels)
    framed[:, margin:-margin, margin:-margin].copy_(x.permute(0, 2, 3, 1))
    return framed
