"""The generator for restoring only: what training needs as parameters is folded into constants, passes are fused.

Computes what ``MMRBGAN`` computes (``tests/arch/test_inference.py``). Equalized rates and gains are multiplied into the
weights; a trained slope of a PReLU is a constant, which a convolution takes as its leaky ReLU; demodulation, bias and
activation ride on the blur or on the way back from Winograd's domain, the style on the way into it. Where it pays,
large maps go through ``WinogradConv2d``. docs/performance.md says what each step brought.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..codec_arch import Decoder, Encoder
from ..layers import (
    GAIN,
    SLOPE,
    BinomialFilter,
    ConvLayer,
    EqualizedConv2d,
    EqualizedLinear,
    ModulatedConv2d,
    UpConvLayer,
    leaky_relu,
    pixel_norm,
)
from ..mmrb_arch import MMRB
from ..stylegan2_arch import StyleBlock, StyleGAN2Prior, ToRGB
from ..support.memory import give_back_memory
from .winograd import WinogradConv2d

if TYPE_CHECKING:
    from ..mmrbgan_arch import MMRBGAN

T = TypeVar('T')


def fused_types() -> tuple[torch.dtype, ...]:
    """Precisions in which this torch, and oneDNN on this CPU, have convolution and activation as one operation."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, '_convolution_pointwise')):
        return ()
    half = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if half else (torch.float32,)


FUSED_TYPES = fused_types()
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


class InferenceMMRB(nn.Module):
    """Eq. 4-10: five convolutions with their activations; each stage's two read one map with one margin."""

    def __init__(self, block: MMRB, plan: Plan, size: int) -> None:
        super().__init__()
        self.half3, self.half5, self.full3, self.full5 = (
            plan.convolution(scaled_weight(part), part.bias, size, slope=part.prelu.weight.item())
            for part in (block.half3, block.half5, block.full3, block.full5)
        )
        fuse = block.fuse
        self.fuse = DirectConv2d(scaled_weight(fuse), fuse.bias, plan.dtype, slope=fuse.prelu.weight.item())

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> the same shape."""
        half, margin = x.shape[1] // 2, self.full5.margin
        mixed = framed_empty(x, x.shape[1], margin)
        first, second = without(mixed, margin).chunk(2, dim=1)
        padded = framed(x, self.half5.margin)
        self.half3([without(padded[:, :half], self.half5.margin - self.half3.margin)], out=first)
        self.half5([padded[:, half:]], out=second)
        paths = [self.full3([without(mixed, margin - self.full3.margin)]), self.full5([mixed])]
        return self.fuse(paths).add_(x)


class InferenceDown(nn.Module):
    """Blur, then convolution with stride 2."""

    kernel: Tensor

    def __init__(self, layer: ConvLayer, plan: Plan) -> None:
        super().__init__()
        assert layer.filter is not None and layer.bias is not None
        self.padding = layer.blur_padding
        self.register_buffer('kernel', depthwise(layer.filter, layer.conv.weight.shape[1], plan.dtype))
        self.conv = DirectConv2d(scaled_weight(layer.conv) * GAIN, layer.bias * GAIN, plan.dtype, slope=SLOPE, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, h / 2, w / 2)."""
        return self.conv([convolve(x, self.kernel, None, 1, self.padding, groups=x.shape[1])])


class InferenceEncoder(nn.Module):
    """The encoder; ``forward`` as ``Encoder.forward``."""

    def __init__(self, encoder: Encoder, plan: Plan, size: int) -> None:
        super().__init__()
        stem = encoder.stem
        assert stem.bias is not None
        self.stem = DirectConv2d(scaled_weight(stem.conv) * GAIN, stem.bias * GAIN, plan.dtype, slope=SLOPE)
        self.downs = nn.ModuleList(plan.fold(InferenceDown, layer, plan) for layer in encoder.downs)
        blocks = enumerate(encoder.blocks, start=1)
        self.blocks = nn.ModuleList(plan.fold(InferenceMMRB, block, plan, size >> i) for i, block in blocks)
        self.to_latent = plan.fold(InferenceLinear, encoder.to_latent)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(b, 3, s, s) -> latent z (b, style_dim), feature maps from s down to 4."""
        features = [self.stem([x])]
        for i, down in enumerate(self.downs):
            feature = down(features[-1])
            features.append(self.blocks[i](feature) if i < len(self.blocks) else feature)
        return self.to_latent(features[-1].to(self.to_latent.weight.dtype).flatten(1)), features


class InferenceLinear(nn.Module):
    """An equalized linear layer with its rate and gain folded."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: EqualizedLinear) -> None:
        super().__init__()
        gain = GAIN if layer.activate else 1.0
        self.register_buffer('weight', layer.weight * (layer.scale * gain))
        self.register_buffer('bias', layer.bias * (layer.lr_multiplier * gain))
        self.activate = layer.activate

    def forward(self, x: Tensor) -> Tensor:
        """(b, in) -> (b, out)."""
        out = F.linear(x, self.weight, self.bias)
        return leaky_relu(out) if self.activate else out


class InferenceUp(nn.Module):
    """Transposed convolution, then blur with demodulation, bias and activation."""

    weight: Tensor
    bias: Tensor
    kernel: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, blur: BinomialFilter, dtype: torch.dtype) -> None:
        """Args: weight: (out, in, 3, 3), its rate and gain folded."""
        super().__init__()
        self.register_buffer('weight', constant(weight.transpose(0, 1), dtype))
        self.register_buffer('bias', constant(bias, dtype))
        self.register_buffer('kernel', depthwise(blur, weight.shape[0], dtype))

    def forward(
        self, parts: list[Tensor], style: Tensor | None = None, gain: Tensor | None = None, margin: int = 0
    ) -> Tensor:
        """Maps (b, c, h, w), style (b, in), gain (b, out) -> (b, out, 2h + 2 margin, 2w + 2 margin).

        The list of maps is emptied, so that their memory is free for the result. The margin is zero.
        """
        channels, padding = self.weight.shape[1], 1 + margin
        x = parts[0] if len(parts) == 1 and style is None else joined(parts, style)
        parts.clear()
        x = F.conv_transpose2d(x, self.weight, stride=2)
        if gain is None or len(gain) == 1:
            kernel = self.kernel if gain is None else self.kernel * gain.to(x.dtype)[0, :, None, None, None]
            out = convolve(x, kernel, self.bias, 1, padding, groups=channels, slope=SLOPE)
        else:
            out = F.conv2d(x, self.kernel, None, padding=padding, groups=channels)
            out = scaled_(out, gain, self.bias, SLOPE)
        return clear_frame(out, margin)


class InferenceDecoder(nn.Module):
    """The decoder; writes over the encoder's maps."""

    def __init__(self, decoder: Decoder, plan: Plan) -> None:
        super().__init__()
        self.ups = nn.ModuleList(plan.fold(self._folded, up, plan.dtype) for up in decoder.ups)

    @staticmethod
    def _folded(up: UpConvLayer, dtype: torch.dtype) -> InferenceUp:
        return InferenceUp(scaled_weight(up.conv) * GAIN, up.bias * GAIN, up.filter, dtype)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Encoder's maps from s down to 4 -> the decoder's, from 4 up to s."""
        decoded = [features[-1]]
        for up, skip in zip(self.ups, reversed(features[:-1]), strict=True):
            decoded.append(skip.add_(up([decoded[-1]])))
        return decoded


class Modulation(nn.Module):
    """Style and demodulation of a modulated convolution."""

    energy: Tensor

    def __init__(self, conv: ModulatedConv2d) -> None:
        super().__init__()
        self.affine = InferenceLinear(conv.modulation)
        self.register_buffer('energy', (conv.weight * conv.scale).square().sum(dim=(2, 3)).t())  # (in, out)

    def forward(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """W (b, style_dim) -> style (b, in), gain times demodulation (b, out)."""
        style = self.affine(w)
        return style, torch.rsqrt(style.square() @ self.energy + 1e-8) * GAIN


class InferenceStyleBlock(nn.Module):
    """Eq. 3; convolution and noise branch stay two maps, which the next convolution reads as one."""

    noise_weight: Tensor
    noise_bias: Tensor

    def __init__(self, block: StyleBlock, plan: Plan, size: int) -> None:
        super().__init__()
        bias, noise_bias = (block.bias * GAIN).chunk(2)
        weight = block.conv.weight * block.conv.scale
        self.modulation = Modulation(block.conv)
        blur = block.conv.filter
        self.up = InferenceUp(weight, bias, blur, plan.dtype) if blur else None
        self.conv = None if blur else plan.convolution(weight, bias, size, slope=SLOPE)
        self.margin = 0 if self.conv is None else self.conv.margin
        self.register_buffer('noise_weight', constant(block.noise_weight * GAIN, plan.dtype))
        self.register_buffer('noise_bias', constant(noise_bias[:, None, None], plan.dtype))

    def forward(
        self, parts: list[Tensor], w: Tensor, noise: Tensor, margin: int = 0, keep_noise: bool = False
    ) -> list[Tensor]:
        """Maps with this block's margin, w, decoder's map -> the block's two maps with a margin for the next.

        The second map is written over the decoder's, unless that is still needed.
        """
        style, gain = self.modulation(w)
        if self.up is not None:
            first = self.up(parts, style, gain, margin)
        else:
            assert self.conv is not None and margin == 0
            first = self.conv(parts, style, gain)
        second = framed_empty(noise, noise.shape[1], margin) if keep_noise else noise
        inner = without(second, margin)
        leaky_relu(add_product(self.noise_bias, noise, self.noise_weight, inner))
        return [first, second]


class InferenceRGB(nn.Module):
    """Adds a scale's RGB to the image; the style is multiplied into the 3 x c weight."""

    weight: Tensor
    bias: Tensor
    kernel: Tensor

    def __init__(self, layer: ToRGB) -> None:
        super().__init__()
        self.affine = InferenceLinear(layer.conv.modulation)
        self.register_buffer('weight', (layer.conv.weight * layer.conv.scale)[:, :, 0, 0].clone())
        self.register_buffer('bias', layer.bias.clone())
        self.register_buffer('kernel', depthwise(layer.filter, 3, layer.bias.dtype))

    def forward(self, parts: list[Tensor], w: Tensor, image: Tensor | None) -> Tensor:
        """Maps (b, c, h, w), w, image (b, 3, h/2, w/2) or None -> (b, 3, h, w)."""
        weights = (self.weight * self.affine(w)[:, None]).to(parts[0].dtype).chunk(2, dim=2)  # (b, 3, c) each
        rgb = sum(product(part, weight).to(w.dtype) for part, weight in zip(parts, weights, strict=True))
        rgb = rgb + self.bias[:, None, None]
        return rgb if image is None else rgb + F.conv_transpose2d(image, self.kernel, stride=2, padding=1, groups=3)


class InferencePrior(nn.Module):
    """Mapping network and synthesis; ``forward`` as ``StyleGAN2Prior.forward``."""

    constant: Tensor

    def __init__(self, prior: StyleGAN2Prior, plan: Plan) -> None:
        super().__init__()
        self.mapping = nn.ModuleList(plan.fold(InferenceLinear, layer) for layer in prior.mapping)
        self.register_buffer('constant', constant(prior.constant, plan.dtype))
        sizes = (4 << (i + 1) // 2 for i in range(len(prior.blocks)))
        blocks = zip(prior.blocks, sizes, strict=True)
        self.blocks = nn.ModuleList(plan.fold(InferenceStyleBlock, block, plan, size) for block, size in blocks)
        self.to_rgbs = nn.ModuleList(plan.fold(InferenceRGB, layer) for layer in prior.to_rgbs)

    def forward(self, z: Tensor, decoded: list[Tensor]) -> Tensor:
        """Latent z (b, style_dim) and the decoder's maps from 4 up -> image (b, 3, s, s).

        The maps are written over, and the list is emptied on the way.
        """
        w = pixel_norm(z)
        for layer in self.mapping:
            w = layer(w)
        x = self.blocks[0]([self.constant.expand(len(z), -1, -1, -1)], w, decoded.pop(0))
        image = self.to_rgbs[0](x, w, None)
        for i in range(1, len(self.to_rgbs)):
            up, plain, feature = self.blocks[2 * i - 1], self.blocks[2 * i], decoded.pop(0)
            x = up(x, w, feature, plain.margin, keep_noise=True)
            x = plain(x, w, feature)
            image = self.to_rgbs[i](x, w, image)
        return image


class InferenceMMRBGAN(nn.Module):
    """What ``MMRBGAN.prepare_for_inference`` returns: the same images from the same input, no gradients.

    Device and precision are fixed: prepare again for others.
    """

    def __init__(self, network: 'MMRBGAN', plan: Plan) -> None:
        super().__init__()
        self.out_size, self.dtype, self.winograd = network.out_size, plan.dtype, plan.winograd
        self.middle, self.half_range = network.middle, network.half_range
        self.encoder = InferenceEncoder(network.encoder, plan, network.out_size)
        self.decoder = InferenceDecoder(network.decoder, plan)
        self.prior = InferencePrior(network.prior, plan)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, s, s) RGB in the network's range -> the same shape.

        Raises:
            ValueError: another shape.
        """
        if x.ndim != 4 or x.shape[1:] != (3, self.out_size, self.out_size):
            raise ValueError(f'this network takes (b, 3, {self.out_size}, {self.out_size}); found {tuple(x.shape)}')
        x = (x - self.middle) / self.half_range
        z, features = self.encoder(x.to(self.dtype, memory_format=torch.channels_last))
        decoded = self.decoder(features)
        features.clear()
        return self.prior(z, decoded) * self.half_range + self.middle

    def in_float32(self) -> 'InferenceMMRBGAN':
        """Go on in float32, in place, with the weights as they are; return self."""
        self.dtype = torch.float32
        return self.float()


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
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, pads, strides, [1, 1], groups, *unary)
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
    """Leaky ReLU in place; ``None`` is no activation."""
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
    return out.unflatten(1, pixels.shape[1:3]).permute(0, 3, 1, 2)


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
