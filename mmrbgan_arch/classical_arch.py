"""Classical methods as networks without weights, so that a table of results is never without a baseline.

They take and give what a restorer does, (b, 3, h, w) RGB in [-1, 1], and run by the same option files.
"""

from typing import Annotated, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from .basicsr_bridge import register_arch
from .support.ranges import Range

Method = Literal['input', 'bicubic', 'unsharp', 'nonlocal_means']


@register_arch
class MMRBGANClassical(nn.Module):
    """A classical method: (b, 3, h, w) RGB in [-1, 1] -> the same."""

    brings_its_weights = True  # `basicsr test` asks for no pretrain_network_g

    def __init__(
        self,
        method: Method,
        scale: Annotated[float, Range(1, 64)] = 4,
        sigma: Annotated[float, Range(0.05, 100)] = 2,
        amount: Annotated[float, Range(0, 100)] = 1,
        strength: Annotated[float, Range(0, 255)] = 5,
    ) -> None:
        """Choose the method.

        Args:
            method: ``input`` (as it is), ``bicubic`` (shrink by ``scale`` with antialiasing and enlarge again),
                ``unsharp`` (add ``amount`` of what a Gaussian of ``sigma`` pixels takes away) or ``nonlocal_means``
                (OpenCV's denoising with ``strength`` in grey levels).
            scale: of bicubic.
            sigma: of unsharp.
            amount: of unsharp.
            strength: of non-local means.

        Raises:
            ValueError: an unknown method.
        """
        super().__init__()
        methods = {
            'input': lambda x: x,
            'bicubic': self._bicubic,
            'unsharp': self._unsharp,
            'nonlocal_means': self._nonlocal_means,
        }
        if method not in methods:
            raise ValueError(f'method: {method!r} is none of {", ".join(methods)}')
        self.method = methods[method]
        self.scale, self.sigma, self.amount, self.strength = scale, sigma, amount, strength

    def forward(self, x: Tensor) -> Tensor:
        """Apply the method."""
        out: Tensor = self.method(x).clamp(-1, 1)
        return out

    def _bicubic(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        small = [max(1, round(side / self.scale)) for side in size]
        x = F.interpolate(x, small, mode='bicubic', align_corners=False, antialias=True)
        return F.interpolate(x, size, mode='bicubic', align_corners=False)

    def _unsharp(self, x: Tensor) -> Tensor:
        radius = max(1, round(3 * self.sigma))
        blurred = gaussian_blur(x, [2 * radius + 1] * 2, [self.sigma] * 2)
        out: Tensor = x + self.amount * (x - blurred)
        return out

    def _nonlocal_means(self, x: Tensor) -> Tensor:
        pictures = ((x.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        cleaned = [cv2.fastNlMeansDenoisingColored(one, None, self.strength, self.strength) for one in pictures]
        return torch.from_numpy(np.stack(cleaned)).to(x).permute(0, 3, 1, 2) / 127.5 - 1
