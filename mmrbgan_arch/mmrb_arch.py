"""The mixed multi-path residual block (paper 3.2, Fig. 3, Eq. 4-10), usable in any network."""

import torch
from torch import Tensor, nn

from .basicsr_bridge import register_arch
from .layers import EqualizedConv2d


@register_arch
class MMRB(nn.Module):
    """Two crossed 3x3 / 5x5 stages over split channels, a 1x1 reduction and a residual connection with PReLU.

    The 1x1 reduction starts at zero, so a fresh block computes PReLU(x) and disturbs no pretrained network around it.
    """

    def __init__(self, num_feat: int, prelu_start: float = 0.25) -> None:
        """Create the block.

        Args:
            num_feat: channels in and out; even, since Eq. 4 splits them in halves.
            prelu_start: first slope of the PReLU, 0.25 as He et al.; 1.0 makes a fresh block the identity.

        Raises:
            ValueError: ``num_feat`` is odd or below 2.
        """
        super().__init__()
        if num_feat < 2 or num_feat % 2:
            raise ValueError(f'MMRB: num_feat must be even, since its channels are split in halves; found {num_feat}')
        half = num_feat // 2
        self.half3 = EqualizedConv2d(half, half, 3, padding=1, bias=True)
        self.half5 = EqualizedConv2d(half, half, 5, padding=2, bias=True)
        self.full3 = EqualizedConv2d(num_feat, num_feat, 3, padding=1, bias=True)
        self.full5 = EqualizedConv2d(num_feat, num_feat, 5, padding=2, bias=True)
        self.fuse = EqualizedConv2d(2 * num_feat, num_feat, 1, bias=True, zero_start=True)
        self.prelu = nn.PReLU(num_feat, init=prelu_start)

    def forward(self, x: Tensor) -> Tensor:
        """(b, num_feat, h, w) -> the same shape."""
        x1, x2 = x.chunk(2, dim=1)  # Eq. 4
        mixed = torch.cat([self.half3(x1), self.half5(x2)], dim=1)  # Eq. 5-6
        paths = torch.cat([self.full3(mixed), self.full5(mixed)], dim=1)  # Eq. 7-8
        return self.prelu(self.fuse(paths) + x)  # Eq. 9-10
