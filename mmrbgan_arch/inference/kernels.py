"""Operations on maps that the folded network is made of: fused where oneDNN fuses them, in place where they may be."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..layers import BinomialFilter, EqualizedConv2d, leaky_relu


def fused_types() -> tuple[torch.dtype, ...]:
    """Precisions in which this torch, and oneDNN on this CPU, have convolution and activation as one operation."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, '_convolution_pointwise')):
        return ()
    half = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if half else (torch.float32,)


FUSED_TYPES = fused_types()


def scaled_weight(conv: EqualizedConv2d) -> Tensor:
    """The weight times its equalized rate."""
    return conv.weight * conv.scale


def constant(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy in this precision; weights of convolutions in channels_last memory."""
    layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
    return value.detach().to(dtype, memory_format=layout, copy=True)


def depthwise(blur: BinomialFilter, channels: int, dtype: torch.dtype) -> Tensor:
    """The blur's kernel for each channel, (channels, 1, 4, 4)."""
    return blur.kernel.to(dtype).repeat(channels, 1, 1, 1)


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    *,
    groups: int = 1,
    slope: float | None = None,
) -> Tensor:
    """Convolution and leaky ReLU, as one operation of oneDNN where there is one."""
    if slope is not None and fuses(x):
        pads, strides, unary = [padding] * 2, [stride] * 2, ('leaky_relu', [slope], '')
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, pads, strides, [1, 1], groups, *unary)
        return out
    result = F.conv2d(x, weight, bias, stride, padding, groups=groups)
    return activated_(result, slope)


def convolve_parts(parts: list[Tensor], weight: Tensor, bias: Tensor, padding: int, *, slope: float | None) -> Tensor:
    """Convolution, with stride 1, of maps that follow each other in the channels; where oneDNN adds, without a copy."""
    if len(parts) == 1 or not fuses(parts[0]):
        x = parts[0] if len(parts) == 1 else joined(parts, None)
        return convolve(x, weight, bias, 1, padding, slope=slope)
    weights = weight.split([part.shape[1] for part in parts], dim=1)
    out = F.conv2d(parts[0], weights[0], bias, padding=padding)
    for part, some in zip(parts[1:], weights[1:], strict=True):
        window = ([padding] * 2, [1, 1], [1, 1], 1)  # padding, stride, dilation, groups
        torch.ops.mkldnn._convolution_pointwise_.binary(out, part, some, None, *window, 'add', 1.0, None, [], None)
    return activated_(out, slope)


def activated_(x: Tensor, slope: float | None) -> Tensor:
    """Leaky ReLU in place; nothing if ``slope`` is None."""
    return x if slope is None else leaky_relu(x, slope)


def fuses(x: Tensor) -> bool:
    """Say whether oneDNN's fused operations take this map; the compiler fuses by itself, and better."""
    return x.device.type == 'cpu' and x.dtype in FUSED_TYPES and not torch.compiler.is_compiling()


def modulation(style: Tensor, gain: Tensor, dtype: torch.dtype) -> Tensor:
    """The factor of one sample's weight: style (1, in), gain (1, out) -> (out, in, 1, 1)."""
    return torch.outer(gain[0], style[0]).to(dtype)[:, :, None, None]


def product(x: Tensor, weight: Tensor) -> Tensor:
    """Maps (b, c, h, w), one matrix (out, c) for each -> (b, out, h, w); reads the maps as they lie in memory."""
    pixels = x.permute(0, 2, 3, 1)  # (b, h, w, c)
    out = torch.matmul(pixels.flatten(1, 2), weight.transpose(1, 2))
    y: Tensor = out.unflatten(1, pixels.shape[1:3]).permute(0, 3, 1, 2)
    return y


def joined(parts: list[Tensor], style: Tensor | None) -> Tensor:
    """Concatenate maps along the channels, multiplied by the style (b, c), in one pass."""
    widths = [part.shape[1] for part in parts]
    out = framed_empty(parts[0], sum(widths), 0)
    styles = [None] * len(parts) if style is None else style.to(out.dtype)[:, :, None, None].split(widths, dim=1)
    for part, factor, target in zip(parts, styles, out.split(widths, dim=1), strict=True):
        if factor is None or torch.compiler.is_compiling():  # the compiler takes no strided `out`, and fuses the copy
            target.copy_(part if factor is None else part * factor)
        else:
            torch.mul(part, factor, out=target)
    return out


def scaled_(x: Tensor, gain: Tensor, bias: Tensor, slope: float | None) -> Tensor:
    """Gain * x + bias in place; gain (b, c), bias (c,)."""
    add_product(bias[:, None, None], x, gain.to(x.dtype)[:, :, None, None], x)
    return activated_(x, slope)


def add_product(bias: Tensor, x: Tensor, factor: Tensor, out: Tensor) -> Tensor:
    """Bias + x * factor, written to ``out``."""
    if torch.compiler.is_compiling():  # see ``joined``
        return out.copy_(torch.addcmul(bias, x, factor))
    return torch.addcmul(bias, x, factor, out=out)


def framed_empty(like: Tensor, channels: int, margin: int) -> Tensor:
    """An unfilled map of the size of ``like`` (b, c, h, w) with a frame of zeros, in channels_last memory."""
    batch, _, height, width = like.shape
    out = like.new_empty(batch, height + 2 * margin, width + 2 * margin, channels).permute(0, 3, 1, 2)
    return clear_frame(out, margin)


def framed(x: Tensor, margin: int) -> Tensor:
    """The map in a frame of zeros; itself if there is none."""
    if not margin:
        return x
    out = framed_empty(x, x.shape[1], margin)
    without(out, margin).copy_(x)
    return out


def clear_frame(x: Tensor, margin: int) -> Tensor:
    """Zero the outermost ``margin`` rows and columns, in place."""
    if margin:
        for side in (x[:, :, :margin], x[:, :, -margin:], x[:, :, :, :margin], x[:, :, :, -margin:]):
            side.zero_()
    return x


def without(x: Tensor, margin: int) -> Tensor:
    """The view inside a margin."""
    return x[:, :, margin:-margin, margin:-margin] if margin else x
