"""The asymmetric codec (paper 3.1, Fig. 2, Eq. 1): an encoder with MMRBs, a light decoder without them."""

from torch import Tensor, nn

from .layers import ConvLayer, EqualizedConv2d, EqualizedLinear, UpConvLayer
from .mmrb_arch import MMRB


class Encoder(nn.Module):
    """Halves the image down to 4x4; an MMRB follows every halving but the last; the 4x4 map becomes the latent."""

    def __init__(self, channels: dict[int, int], sizes: list[int], style_dim: int, use_mmrb: bool) -> None:
        """Args: channels: width by resolution; sizes: resolutions from 4 up to the image's."""
        super().__init__()
        top_down = sizes[::-1]
        self.stem = ConvLayer(3, channels[top_down[0]], 1)
        self.downs = nn.ModuleList(ConvLayer(channels[2 * size], channels[size], 3, down=True) for size in top_down[1:])
        with_block = top_down[1:-1] if use_mmrb else []
        self.blocks = nn.ModuleList(MMRB(channels[size]) for size in with_block)
        self.to_latent = EqualizedLinear(channels[4] * 16, style_dim, activate=True)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(b, 3, s, s) -> latent z (b, style_dim) of Eq. 1, feature maps from s down to 4."""
        features = [self.stem(x)]
        for i, down in enumerate(self.downs):
            feature = down(features[-1])
            features.append(self.blocks[i](feature) if i < len(self.blocks) else feature)
        return self.to_latent(features[-1].flatten(1)), features


class Decoder(nn.Module):
    """d(4) = e(4), d(2r) = e(2r) + up(d(r)); each d(r) feeds the noise branches of the prior at its scale.

    The up-convolutions start at zero, so that d = e at first, which is what GPEN feeds to its prior.
    """

    def __init__(self, channels: dict[int, int], sizes: list[int]) -> None:
        """Args: channels: width by resolution; sizes: resolutions from 4 up to the image's."""
        super().__init__()
        self.ups = nn.ModuleList(
            UpConvLayer(channels[size // 2], channels[size], zero_start=True) for size in sizes[1:]
        )
        self.to_rgbs = nn.ModuleList(EqualizedConv2d(channels[size], 3, 1, bias=True) for size in sizes[1:])

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Encoder's maps from s down to 4 -> the decoder's, from 4 up to s."""
        decoded = [features[-1]]
        for up, skip in zip(self.ups, reversed(features[:-1]), strict=True):
            decoded.append(skip + up(decoded[-1]))
        return decoded

    def pyramid(self, decoded: list[Tensor]) -> list[Tensor]:
        """One RGB map (b, 3, r, r) per decoded scale from 8 up, for the pyramid loss; needed in training only."""
        return [to_rgb(feature) for to_rgb, feature in zip(self.to_rgbs, decoded[1:], strict=True)]
