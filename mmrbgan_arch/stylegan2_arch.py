"""The StyleGAN2 prior whose noise branches carry the decoder's features (paper 3.1, Eq. 2-3)."""

import torch
from torch import Tensor, nn

from .layers import GAIN, BinomialFilter, EqualizedLinear, ModulatedConv2d, leaky_relu, pixel_norm

RGB_START = 0.02


class StyleBlock(nn.Module):
    """Eq. 3, Style(w, Concat[x, y]): modulated convolution, concatenation with the noise branch, activation."""

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, noise_start: float, up: bool = False
    ) -> None:
        """Args: out_channels: of the convolution; the block's output has twice as many."""
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, out_channels, 3, style_dim, up=up)
        self.noise_weight = nn.Parameter(torch.full((1,), float(noise_start)))
        self.bias = nn.Parameter(torch.zeros(2 * out_channels))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """(b, in, h, w), (b, style_dim), noise (b, out, h', w') -> (b, 2 out, h', w')."""
        bias, noise_bias = (self.bias * GAIN).chunk(2)
        noise = (noise * (self.noise_weight * GAIN)).add_(noise_bias[:, None, None])
        return leaky_relu(torch.cat([self.conv(x, style, bias, GAIN), noise], dim=1))


class ToRGB(nn.Module):
    """Adds this scale's RGB to the upsampled image so far (StyleGAN2's skip architecture)."""

    def __init__(self, in_channels: int, style_dim: int) -> None:
        """Args: in_channels: of the feature map."""
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, 3, 1, style_dim, demodulate=False)
        # A fresh image is the sum over the scales; from a small start, training begins near grey, not at noise.
        nn.init.normal_(self.conv.weight, std=RGB_START)
        self.bias = nn.Parameter(torch.zeros(3))
        self.filter = BinomialFilter(gain=4)

    def forward(self, x: Tensor, style: Tensor, image: Tensor | None) -> Tensor:
        """(b, in, h, w), (b, style_dim), image (b, 3, h/2, w/2) or None -> (b, 3, h, w)."""
        out = self.conv(x, style, self.bias)
        y: Tensor = out if image is None else out + self.filter.upsample(image)
        return y


class StyleGAN2Prior(nn.Module):
    """Mapping network (Eq. 2) and synthesis (Eq. 3); both convolutions of a scale take the same decoded feature map."""

    def __init__(
        self,
        channels: dict[int, int],
        sizes: list[int],
        style_dim: int,
        num_mlp: int,
        noise_start: float,
        lr_mlp: float = 0.01,
    ) -> None:
        """Args: channels: width by resolution; sizes: from 4 up; noise_start: first weight of the noise branches."""
        super().__init__()
        self.mapping = nn.ModuleList(
            EqualizedLinear(style_dim, style_dim, lr_multiplier=lr_mlp, activate=True) for _ in range(num_mlp)
        )
        self.constant = nn.Parameter(torch.randn(1, channels[4], 4, 4))
        blocks = [StyleBlock(channels[4], channels[4], style_dim, noise_start)]
        for size in sizes[1:]:
            wide, width = 2 * channels[size // 2], channels[size]
            blocks.append(StyleBlock(wide, width, style_dim, noise_start, up=True))
            blocks.append(StyleBlock(2 * width, width, style_dim, noise_start))
        self.blocks = nn.ModuleList(blocks)
        self.to_rgbs = nn.ModuleList(ToRGB(2 * channels[size], style_dim) for size in sizes)

    def map(self, z: Tensor) -> Tensor:
        """Eq. 2: z -> w, both (b, style_dim)."""
        w = pixel_norm(z)
        for layer in self.mapping:
            w = layer(w)
        return w

    def forward(self, z: Tensor, decoded: list[Tensor]) -> Tensor:
        """Latent z (b, style_dim) and the decoder's maps from 4 up -> image (b, 3, s, s), about [-1, 1]."""
        w = self.map(z)
        x = self.constant.expand(z.shape[0], -1, -1, -1)
        x = self.blocks[0](x, w, decoded[0])
        image: Tensor = self.to_rgbs[0](x, w, None)
        for i, feature in enumerate(decoded[1:], start=1):
            x = self.blocks[2 * i - 1](x, w, feature)
            x = self.blocks[2 * i](x, w, feature)
            image = self.to_rgbs[i](x, w, image)
        return image
