"""IFQA (Jo et al., WACV 2023): how real a face looks, per pixel, to the network its authors trained; higher is better.

No package carries it. The network is written from the facts of the authors' release (AIM-SKKU/IFQA: sizes, key names,
the order of operations), so that their ``IFQA_Metric.pth`` (key ``D``) loads strictly.
"""

import functools
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mmrbgan_arch.basicsr_bridge import register_metric
from mmrbgan_arch.support.public_weights import FILES, find_weights
from mmrbgan_arch.support.ranges import Device
from mmrbgan_arch.weights_io import load_into

from .tensors import from_bgr, pick_device, to_unit

SIZE = 256
WIDTHS = (3, 64, 128, 256, 512, 1024)
SIDES = (128, 64, 32, 16, 8)
BOTTOM_BLOCKS = 4


class ResidualBlock(nn.Module):
    """Pre-activation residual block with instance norm (StarGAN v2's), scaled to unit variance."""

    def __init__(self, in_channels: int, out_channels: int, scale: float = 1) -> None:
        """Args: scale: 0.5 halves the map by averaging, 2 doubles it by repetition, 1 keeps it."""
        super().__init__()
        self.scale = scale
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm1 = nn.InstanceNorm2d(in_channels, affine=True)
        self.norm2 = nn.InstanceNorm2d(in_channels, affine=True)
        self.conv1x1 = nn.Conv2d(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, h * scale, w * scale)."""
        shortcut = self._resize(x if self.conv1x1 is None else self.conv1x1(x))
        x = F.leaky_relu(self.norm1(x), 0.2)
        x = self.conv1(self._resize(x)) if self.scale == 2 else self._resize(self.conv1(x))
        out: Tensor = (shortcut + self.conv2(F.leaky_relu(self.norm2(x), 0.2))) / math.sqrt(2)
        return out

    def _resize(self, x: Tensor) -> Tensor:
        if self.scale == 1:
            return x
        return F.avg_pool2d(x, 2) if self.scale < 1 else F.interpolate(x, scale_factor=2, mode='nearest')


class IFQANet(nn.Module):
    """U-Net: (b, 3, 256, 256) RGB in [-1, 1] -> map of realness (b, 1, 256, 256) in [0, 1]."""

    def __init__(self) -> None:
        """Create the network with random weights."""
        super().__init__()
        for side, before, after in zip(SIDES, WIDTHS, WIDTHS[1:], strict=False):
            setattr(self, f'encoder{side}', ResidualBlock(before, after, scale=0.5))
        self.btn = nn.Sequential(*(ResidualBlock(WIDTHS[-1], WIDTHS[-1]) for _ in range(BOTTOM_BLOCKS)))
        for side, before, after in zip(SIDES[-2::-1], WIDTHS[:1:-1], WIDTHS[-2:0:-1], strict=False):
            setattr(self, f'decoder{side}', ResidualBlock(before, after, scale=2))
        self.decoder256 = nn.Sequential(ResidualBlock(WIDTHS[1], 1, scale=2), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Judge every pixel."""
        encoded = {}
        for side in SIDES:
            x = encoded[side] = getattr(self, f'encoder{side}')(x)
        x = self.btn(x)
        for side in SIDES[-2::-1]:
            x = getattr(self, f'decoder{side}')(x)
            x = x * encoded[side] + encoded[side]
        out: Tensor = self.decoder256(x)
        return out


@register_metric
def calculate_ifqa(
    img: np.ndarray,
    img2: np.ndarray | None = None,
    weights: str | None = None,
    device: Device | None = None,
    **kwargs: Any,  # BasicSR hands `better` over, too
) -> float:
    """IFQA of one BGR uint8 face (h, w, 3), in [0, 1]; ``img2`` is not looked at.

    Args:
        img: the restored face.
        img2: for BasicSR's sake.
        weights: the authors' file; None: IFQA_Metric.pth in the cache.
        device: torch's name; None: CUDA where there is one.
        kwargs: BasicSR's own, such as ``better``; not looked at.
    """
    return float(ifqa(from_bgr(img), weights, device)[0])


@torch.inference_mode()
def ifqa(pictures: np.ndarray, weights: str | Path | None = None, device: str | None = None) -> np.ndarray:
    """RGB uint8 (b, h, w, 3) -> mean realness (b,) in [0, 1]."""
    target = pick_device(device)
    network = load_ifqa(str(weights_path(weights)), target)
    small = np.stack([cv2.resize(one, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for one in pictures])
    result: np.ndarray = network(to_unit(small, target) * 2 - 1).mean(dim=(1, 2, 3)).cpu().numpy()
    return result


def weights_path(weights: str | Path | None = None) -> Path:
    """Return the authors' file.

    Raises:
        UsageError: it is neither given nor in the cache; it cannot be fetched by a program.
    """
    return find_weights(FILES['ifqa'], weights, 'weights', 'leave IFQA out')


@functools.cache
def load_ifqa(path: str, device: torch.device) -> nn.Module:
    """Return the network filled from the authors' file (a dict with key ``D``)."""
    return load_into(IFQANet(), path, 'D').requires_grad_(False).eval().to(device)
