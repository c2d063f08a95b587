"""The mixed multi-path residual block (paper 3.2, Fig. 3, Eq. 4-10), usable in any network."""

import torch
from torch import Tensor, nn

from .basicsr_bridge import register_arch
from .layers import EqualizedConv2d


class PReLUConv2d(EqualizedConv2d):
    """sigma(W(.)) of Eq. 5-9: a convolution that keeps the size, and a PReLU with one slope, 0.25 at first."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, zero_start: bool = False) -> None:
        """Args: zero_start: begin with zero weights, so that the output is zero for any slope."""
        super().__init__(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=True, zero_start=zero_start
        )
        self.prelu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, h, w)."""
        out: Tensor = self.prelu(super().forward(x))
        return out


@register_arch
class MMRB(nn.Module):
    """Two crossed 3x3 / 5x5 stages over split channels, a 1x1 reduction and a residual connection.

    The 1x1 reduction starts at zero, so a fresh block is the identity and leaves a pretrained network unchanged.
    """

    def __init__(self, num_feat: int) -> None:
        """Create the block.

        Args:
            num_feat: channels in and out; even, since Eq. 4 splits them in halves.

        Raises:
            ValueError: ``num_feat`` is odd or below 2.
        """
        super().__init__()
        if num_feat < 2 or num_feat % 2:
            raise ValueError(f'MMRB: num_feat must be even, since its channels are split in halves; found {num_feat}')
        half = num_feat // 2
        self.half3 = PReLUConv2d(half, half, 3)
        self.half5 = PReLUConv2d(half, half, 5)
        self.full3 = PReLUConv2d(num_feat, num_feat, 3)
        self.full5 = PReLUConv2d(num_feat, num_feat, 5)
        self.fuse = PReLUConv2d(2 * num_feat, num_feat, 1, zero_start=True)

    def forward(self, x: Tensor) -> Tensor:
        """(b, num_feat, h, w) -> the same shape."""
        x1, x2 = x.chunk(2, dim=1)  # Eq. 4
        mixed = torch.cat([self.half3(x1), self.half5(x2)], dim=1)  # Eq. 5-6
        paths = torch.cat([self.full3(mixed), self.full5(mixed)], dim=1)  # Eq. 7-8
        out: Tensor = x + self.fuse(paths)  # Eq. 9-10
        return out
