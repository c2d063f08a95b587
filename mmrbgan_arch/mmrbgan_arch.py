"""The whole generator (paper 3.1, Fig. 2): asymmetric codec + StyleGAN2 prior fed by concatenated noise branches."""

import math
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from .basicsr_bridge import register_arch
from .codec_arch import Decoder, Encoder
from .fresh_start import start_as_identity
from .stylegan2_arch import StyleGAN2Prior
from .support.ranges import Multiplier, Narrow, Range, Side

BASE_WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512}
SCALED_WIDTHS = {64: 256, 128: 128, 256: 64, 512: 32, 1024: 16, 2048: 8}


def channel_widths(out_size: int, channel_multiplier: int, narrow: float) -> dict[int, int]:
    """Width by resolution from 4 to ``out_size``, as GPEN's (paper 4.2).

    Raises:
        ValueError: a size that is no power of two in 8..2048, or a width below 1.
    """
    if out_size not in (8, 16, 32, *SCALED_WIDTHS):
        raise ValueError(f'out_size must be a power of two from 8 to 2048; found {out_size}')
    table = BASE_WIDTHS | {size: width * channel_multiplier for size, width in SCALED_WIDTHS.items()}
    widths = {size: int(width * narrow) for size, width in table.items() if size <= out_size}
    empty = [size for size, width in widths.items() if width < 1]
    if empty:
        raise ValueError(f'narrow {narrow} leaves no channel at {empty} px; choose a larger one')
    return widths


def check_halves(channels: dict[int, int], out_size: int) -> None:
    """Refuse odd widths where an MMRB stands (8 px up to half the image): it splits them in halves.

    Raises:
        ValueError: names the scales and their widths.
    """
    odd = {size: width for size, width in channels.items() if 4 < size < out_size and width % 2}
    if odd:
        raise ValueError(
            f'odd widths {odd} by resolution cannot be halved by an MMRB; choose another narrow, or do without MMRBs '
            '(use_mmrb: false; convert gpen --without-mmrb)'
        )


@register_arch
class MMRBGAN(nn.Module):
    """Restores aligned faces: (b, 3, s, s) RGB in ``image_range`` -> the same shape, about the same range.

    With ``return_pyramid`` the decoder's RGB maps, small to large, come too (the paper's per-scale L1).
    """

    def __init__(
        self,
        out_size: Side = 512,
        style_dim: Annotated[int, Range(1, 4096)] = 512,
        num_mlp: Annotated[int, Range(1, 64)] = 8,
        channel_multiplier: Multiplier = 2,
        narrow: Narrow = 1.0,
        use_mmrb: bool = True,
        noise_start: Annotated[float, Range(0, 10)] = 1.0,
        image_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        """Create the network with random weights.

        Args:
            out_size: side of the image in pixels, a power of two.
            style_dim: length of the latents z and w.
            num_mlp: layers of the mapping network (Eq. 2).
            channel_multiplier: widens the scales from 64 px up.
            narrow: multiplies every width; 0.5 is the lite network.
            use_mmrb: False leaves the blocks out (Table 5, 'w/o MMRB').
            noise_start: first weight of the noise branches; 1 from scratch, overwritten by a pretrained prior's.
            image_range: black and white of the images that go in and come out; (0, 1) for models that work in that
                range, such as BasicSR's SRModel. The weights are the same for every range.

        Raises:
            ValueError: sizes, widths or an image range that do not work.
        """
        super().__init__()
        channels = channel_widths(out_size, channel_multiplier, narrow)
        if use_mmrb:
            check_halves(channels, out_size)
        sizes = [2**i for i in range(2, int(math.log2(out_size)) + 1)]
        black, white = image_range
        if not black < white:
            raise ValueError(f'image_range must be black, white with black < white; found {image_range}')
        self.middle, self.half_range = (white + black) / 2, (white - black) / 2
        self.out_size = out_size
        self.encoder = Encoder(channels, sizes, style_dim, use_mmrb)
        self.decoder = Decoder(channels, sizes)
        self.prior = StyleGAN2Prior(channels, sizes, style_dim, num_mlp, noise_start)
        if noise_start:
            start_as_identity(self.encoder, self.prior, noise_start)

    def forward(self, x: Tensor, return_pyramid: bool = False) -> Any:
        """Restore a batch.

        Args:
            x: (b, 3, out_size, out_size), RGB in ``image_range``.
            return_pyramid: also return the decoder's RGB maps.

        Returns:
            The image, or (image, [(b, 3, 8, 8), ..., (b, 3, out_size, out_size)]).

        Raises:
            ValueError: the input is not (b, 3, out_size, out_size).
        """
        z, features = self.encoder(self._to_network(x))
        decoded = self.decoder(features)
        image = self._to_image(self.prior(z, decoded))
        if not return_pyramid:
            return image
        return image, [self._to_image(level) for level in self.decoder.pyramid(decoded)]

    def latents(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The codes of a batch of images: z of Eq. 1 and w of Eq. 2, both (b, style_dim).

        Raises:
            ValueError: the input is not (b, 3, out_size, out_size).
        """
        z, _ = self.encoder(self._to_network(x))
        return z, self.prior.map(z)

    def prepare_for_inference(
        self, dtype: torch.dtype | None = None, winograd: bool | None = None, release: bool = False
    ) -> nn.Module:
        """See ``mmrbgan_arch.inference.prepare_for_inference``."""
        from .inference import prepare_for_inference

        return prepare_for_inference(self, dtype, winograd, release)

    def _to_network(self, x: Tensor) -> Tensor:
        """Check the shape and bring ``image_range`` to [-1, 1]."""
        if x.ndim != 4 or x.shape[1:] != (3, self.out_size, self.out_size):
            raise ValueError(f'MMRBGAN takes (b, 3, {self.out_size}, {self.out_size}); found {tuple(x.shape)}')
        return x if (self.middle, self.half_range) == (0, 1) else (x - self.middle) / self.half_range

    def _to_image(self, x: Tensor) -> Tensor:
        """Bring [-1, 1] back to ``image_range``."""
        return x if (self.middle, self.half_range) == (0, 1) else x * self.half_range + self.middle

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The paper's three groups with their own learning rates (4.2): codec, prior, noise branches."""
        groups: dict[str, list[nn.Parameter]] = {'codec': [], 'prior': [], 'noise': []}
        for name, parameter in self.named_parameters():
            key = 'noise' if name.endswith('noise_weight') else 'prior' if name.startswith('prior.') else 'codec'
            groups[key].append(parameter)
        return groups
