"""Face recognisers for the identity loss (paper Eq. 15) and for scoring: ArcFace's ResNet-18 and MobileFaceNet.

Both take the restorer's faces, (b, 3, s, s) RGB in [-1, 1] in the FFHQ alignment, and do their own preprocessing. Their
parameters are fixed; key names are the public checkpoints' own, so `arcface_resnet18.pth` and MobileFaceNet files load.
"""

from typing import Annotated, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .basicsr_bridge import register_arch
from .support.ranges import Range

Blocks = Annotated[int, Range(1, 100)]
Fixed = TypeVar('Fixed', bound='_FixedRecogniser')

LUMA = (0.2989, 0.5870, 0.1140)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# x1, y1, x2, y2 of ArcFace's 112-px frame in the FFHQ frame at 512 px: the least-squares similarity between the two
# five-point templates (scale 3.400, rotation 0.0 degrees).
ARCFACE_CROP = (66.1, 62.8, 446.9, 443.7)


class IRBlock(nn.Module):
    """Improved residual block of ArcFace (Deng et al., CVPR 2019), without squeeze-and-excitation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Args: stride: 2 halves the map and gives the shortcut a convolution."""
        super().__init__()
        self.bn0 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        out: Tensor = self.prelu(self.bn2(self.conv2(x)) + shortcut)
        return out


class _FixedRecogniser(nn.Module):
    """A network that is only ever evaluated: no gradient for its parameters, batch norms in evaluation mode."""

    def train(self: Fixed, mode: bool = True) -> Fixed:
        """Stay in evaluation mode whatever the caller asks."""
        return super().train(False)

    def _hold(self, name: str, values: tuple[float, ...]) -> None:
        """Keep one value per channel as (1, c, 1, 1), outside the state dict."""
        self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def _fix(self) -> None:
        self.requires_grad_(False)
        self.eval()


@register_arch
class MMRBGANArcFace(_FixedRecogniser):
    """ArcFace ResNet-18 on grey 128-px faces (GFPGAN's `arcface_resnet18.pth`): -> features (b, 512)."""

    luma: Tensor
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, layers: tuple[Blocks, Blocks, Blocks, Blocks] = (2, 2, 2, 2)) -> None:
        """Args: layers: blocks per stage."""
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        self.maxpool = nn.MaxPool2d(2, 2)
        widths, channels = (64, 128, 256, 512), 64
        for stage, (width, count) in enumerate(zip(widths, layers, strict=True), start=1):
            blocks = []
            for i in range(count):
                blocks.append(IRBlock(channels, width, stride=2 if stage > 1 and i == 0 else 1))
                channels = width
            setattr(self, f'layer{stage}', nn.Sequential(*blocks))
        self.bn4 = nn.BatchNorm2d(512)
        self.fc5 = nn.Linear(512 * 8 * 8, 512)
        self.bn5 = nn.BatchNorm1d(512)
        self._hold('luma', LUMA)
        self._fix()

    def preprocess(self, x: Tensor) -> Tensor:
        """(b, 3, s, s) RGB in [-1, 1] -> grey (b, 1, 128, 128) in [-1, 1]."""
        grey = (x * self.luma).sum(dim=1, keepdim=True)
        return F.interpolate(grey, (128, 128), mode='bilinear', align_corners=False)

    def features(self, grey: Tensor) -> Tensor:
        """(b, 1, 128, 128) in [-1, 1] -> (b, 512); what the reference network computes."""
        x = self.maxpool(self.prelu(self.bn1(self.conv1(grey))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        out: Tensor = self.bn5(self.fc5(self.bn4(x).flatten(1)))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, s, s) RGB in [-1, 1] -> (b, 512)."""
        return self.features(self.preprocess(x))


def conv_bn(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm and ReLU6, MobileNetV2's unit."""
    padding = kernel_size // 2
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU6())


class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al., CVPR 2018): widen, depthwise 3x3, project; shortcut where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        """Args: expansion: how much wider the middle is."""
        super().__init__()
        hidden = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            conv_bn(in_channels, hidden, 1),
            conv_bn(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, h / stride, w / stride)."""
        out: Tensor = x + self.conv(x) if self.shortcut else self.conv(x)
        return out


class DepthwiseSeparable(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, each with batch norm and ReLU."""

    def __init__(self, channels: int) -> None:
        """Args: channels: in and out."""
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> the same shape."""
        x = F.relu(self.bn1(self.depthwise(x)))
        return F.relu(self.bn2(self.pointwise(x)))


class GlobalDepthwise(nn.Module):
    """A depthwise 7x7 convolution over the whole map: learned pooling."""

    def __init__(self, channels: int) -> None:
        """Args: channels: in and out."""
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, 7, 7) -> (b, c, 1, 1)."""
        out: Tensor = self.bn(self.depthwise(x))
        return out


# MobileFaceNet's table: expansion, width, repeats, first stride.
MOBILE_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


@register_arch
class MMRBGANMobileFaceNet(_FixedRecogniser):
    """MobileFaceNet (Chen et al., 2018) trained with ArcFace, 112-px RGB faces: -> features (b, 128)."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        """Create the network with random weights."""
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.dw_conv = DepthwiseSeparable(64)
        blocks, channels = [], 64
        for expansion, width, repeats, stride in MOBILE_STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(channels, width, stride if i == 0 else 1, expansion))
                channels = width
        self.features = nn.Sequential(*blocks)
        self.conv2 = nn.Sequential(nn.Conv2d(128, 512, 1, bias=False), nn.BatchNorm2d(512), nn.ReLU())
        self.gdconv = GlobalDepthwise(512)
        self.conv3 = nn.Conv2d(512, 128, 1)
        self.bn = nn.BatchNorm2d(128)
        self._hold('mean', IMAGENET_MEAN)
        self._hold('std', IMAGENET_STD)
        self._fix()

    def preprocess(self, x: Tensor) -> Tensor:
        """(b, 3, s, s) RGB in [-1, 1], FFHQ alignment -> ArcFace's crop (b, 3, 112, 112), ImageNet statistics."""
        scale = x.shape[-1] / 512
        x1, y1, x2, y2 = (round(edge * scale) for edge in ARCFACE_CROP)
        x = F.interpolate(x[:, :, y1:y2, x1:x2], (112, 112), mode='bilinear', align_corners=False, antialias=True)
        return ((x + 1) / 2 - self.mean) / self.std

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, s, s) RGB in [-1, 1] -> (b, 128)."""
        x = self.features(self.dw_conv(self.conv1(self.preprocess(x))))
        out: Tensor = self.bn(self.conv3(self.gdconv(self.conv2(x)))).flatten(1)
        return out
