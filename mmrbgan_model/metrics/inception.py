"""The Inception of FID: (b, 3, h, w) in [0, 1] -> features (b, 2048), as pytorch-fid's ``pt_inception-2015-12-05``.

It is torchvision's Inception v3 with the pooling of TensorFlow's graph. BasicSR and pytorch-fid have the same network,
but fetch its weights, unchecked, whenever it is built.
"""

import functools
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.models.inception import Inception3, InceptionE

from mmrbgan_arch.support.public_weights import FILES, find_weights
from mmrbgan_arch.weights_io import load_into

SIDE, FEATURES, CLASSES = 299, 2048, 1008
AVERAGING = ('Mixed_5b', 'Mixed_5c', 'Mixed_5d', 'Mixed_6b', 'Mixed_6c', 'Mixed_6d', 'Mixed_6e', 'Mixed_7b')


class MaxInceptionE(InceptionE):  # type: ignore[misc]
    """The last block, whose pooling branch takes the maximum."""

    def _forward(self, x: Tensor) -> list[Tensor]:
        narrow = self.branch3x3_1(x)
        deep = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = self.branch_pool(F.max_pool2d(x, kernel_size=3, stride=1, padding=1))
        branches = [self.branch3x3_2a(narrow), self.branch3x3_2b(narrow)]
        branches += [self.branch3x3dbl_3a(deep), self.branch3x3dbl_3b(deep)]
        return [self.branch1x1(x), *branches, pooled]


class FIDInception(nn.Module):
    """(b, 3, h, w) in [0, 1] -> (b, 2048); pictures are scaled to 299 px, bilinear, without antialiasing."""

    def __init__(self, net: Inception3) -> None:
        """Args: net: what ``build`` returns; its classifier is cut off."""
        super().__init__()
        self.net = net
        self.net.dropout, self.net.fc = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Features after the last pooling."""
        x = F.interpolate(x, size=(SIDE, SIDE), mode='bilinear', align_corners=False)
        out: Tensor = self.net(x * 2 - 1)
        return out


def build() -> Inception3:
    """Return the network with random weights, keys as in the file."""
    net = Inception3(num_classes=CLASSES, aux_logits=False, init_weights=False)
    net.Mixed_7c = MaxInceptionE(FEATURES)
    for name in AVERAGING:
        getattr(net, name).branch_pool.register_forward_pre_hook(average_without_padding)
    return net


def average_without_padding(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """Turn torchvision's 3x3 averages, which count the zeros around the map, into TensorFlow's, which do not."""
    (pooled,) = inputs
    ones = torch.ones_like(pooled[:1, :1])
    return pooled / F.avg_pool2d(ones, kernel_size=3, stride=1, padding=1)


def weights_path(weights: str | Path | None = None) -> Path:
    """Return the file of the network: the path given, one in a cache, else a download."""
    return find_weights(FILES['inception'], weights, 'fid_weights', 'leave FID out')


@functools.cache
def load_inception(path: str, device: torch.device) -> nn.Module:
    """Return the network filled from ``path``."""
    return FIDInception(load_into(build(), path).requires_grad_(False)).eval().to(device)
