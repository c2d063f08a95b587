"""The parts of the generator for restoring only, each folded from its counterpart in training.

Computes what ``MMRBGAN`` computes (``tests/arch/test_inference.py``). Equalized rates and gains are multiplied into the
weights; a trained slope of a PReLU is a constant, which a convolution takes as its leaky ReLU; demodulation, bias and
activation ride on the blur or on the way back from Winograd's domain, the style on the way into it. Where it pays,
large maps go through ``WinogradConv2d``. docs/performance.md says what each step brought.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..codec_arch import Decoder, Encoder
from ..layers import (
    GAIN,
    SLOPE,
    BinomialFilter,
    ConvLayer,
    EqualizedLinear,
    ModulatedConv2d,
    UpConvLayer,
    leaky_relu,
    pixel_norm,
)
from ..mmrb_arch import MMRB
from ..stylegan2_arch import StyleBlock, StyleGAN2Prior, ToRGB
from .kernels import (
    add_product,
    clear_frame,
    constant,
    convolve,
    depthwise,
    framed,
    framed_empty,
    joined,
    product,
    scaled_,
    scaled_weight,
    without,
)
from .plan import DirectConv2d, Plan

if TYPE_CHECKING:
    from ..mmrbgan_arch import MMRBGAN


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
        out: Tensor = self.fuse(paths).add_(x)
        return out


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
        out: Tensor = self.conv([convolve(x, self.kernel, None, 1, self.padding, groups=x.shape[1])])
        return out


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
        image: Tensor = self.to_rgbs[0](x, w, None)
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
        out: Tensor = self.prior(z, decoded) * self.half_range + self.middle
        return out

    def in_float32(self) -> 'InferenceMMRBGAN':
        """Go on in float32, in place, with the weights as they are; return self."""
        self.dtype = torch.float32
        return self.float()
