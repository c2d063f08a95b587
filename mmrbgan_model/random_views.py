"""Random crops, flips, colours and blurs, the same for two batches, so that a recogniser is not fooled by patterns.

Not in the paper. A small generator learns patterns that please the one recogniser in its loss and no other; they do not
survive a shift, a blur and another colour.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

ROTATION = math.radians(8)  # each range is about what an alignment by five points leaves
SCALE, SHIFT = 0.1, 0.05  # of the side
GAIN, OFFSET = 0.2, 0.1  # of the colours in [-1, 1]
BLUR_TAPS, BLUR_SIGMA = 5, 1.5  # pixels at 128 px; larger images are blurred in proportion


def random_views(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Change both batches alike, each sample by draws of its own from torch's generator.

    Args:
        first: (b, 3, s, s) in [-1, 1]; gradients pass.
        second: the same shape.
    """
    batch, size = first.shape[0], first.shape[-1]
    both = torch.stack([first, second]).flatten(0, 1)  # (2 b, 3, s, s)
    grid = F.affine_grid(_twice(_affine(batch, first.device)), list(both.shape), align_corners=False)
    both = F.grid_sample(both.float(), grid, padding_mode='border', align_corners=False)
    scale = max(1, round(size / 128))
    taps = 2 * (BLUR_TAPS // 2 * scale) + 1
    share = _twice(torch.rand(batch, 1, 1, 1, device=first.device))
    both = torch.lerp(both, gaussian_blur(both, [taps, taps], [BLUR_SIGMA * scale] * 2), share)
    gain, offset = (_twice(_spread((batch, 3, 1, 1), width, first.device)) for width in (GAIN, OFFSET))
    both = both * (1 + gain) + offset
    return both[:batch], both[batch:]


def _affine(batch: int, device: torch.device) -> Tensor:
    """Random similarity transforms (b, 2, 3), half of them mirrored."""
    angle = _spread((batch,), ROTATION, device)
    scale = 1 + _spread((batch,), SCALE, device)
    mirror = torch.randint(0, 2, (batch,), device=device) * 2 - 1
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    rows = torch.stack([cosine * mirror, -sine, sine * mirror, cosine], dim=1).view(batch, 2, 2)
    return torch.cat([rows, 2 * _spread((batch, 2, 1), SHIFT, device)], dim=2)


def _spread(shape: tuple[int, ...], width: float, device: torch.device) -> Tensor:
    """Uniform in [-width, width]."""
    return (torch.rand(shape, device=device) * 2 - 1) * width


def _twice(values: Tensor) -> Tensor:
    return torch.cat([values, values])
