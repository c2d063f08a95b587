"""Primitives of StyleGAN2 (Karras et al., CVPR 2020) in pure PyTorch: equalized layers, blurs, modulated convolution.

Must compute what GPEN's published generator and discriminator compute with the same weights. Feature maps are
(b, c, h, w); every function keeps the input's dtype and device. No compiled extension, no per-sample weights.
"""

import math
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

SLOPE = 0.2  # of the leaky ReLU, StyleGAN2's
GAIN = math.sqrt(2)  # keeps the variance through a leaky ReLU, StyleGAN2's
BINOMIAL = (1.0, 3.0, 3.0, 1.0)  # the blur of StyleGAN2, and of GPEN's files


def leaky_relu(x: Tensor, slope: float = SLOPE) -> Tensor:
    """Leaky ReLU, in place.

    StyleGAN2 multiplies by sqrt(2) afterwards, which keeps the variance. Since f(a x) = a f(x) for a > 0, every layer
    here multiplies its weights and bias by ``GAIN`` instead, which costs no pass over the feature map.
    """
    return F.leaky_relu(x, slope, inplace=True)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide (b, c) by the root mean square over c (StyleGAN, normalisation of the latent)."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class BinomialFilter(nn.Module):
    """The fixed [1, 3, 3, 1] low-pass of StyleGAN2, one depthwise convolution for all channels.

    The kernel is not part of the state dict: it never changes.
    """

    kernel: Tensor

    def __init__(self, gain: float = 1.0) -> None:
        """Args: gain: sum of the kernel, 1 to keep brightness, 4 after an upsampling by two."""
        super().__init__()
        taps = torch.tensor(BINOMIAL)
        kernel = torch.outer(taps, taps)
        self.register_buffer('kernel', kernel / kernel.sum() * gain, persistent=False)

    def weight(self, x: Tensor) -> Tensor:
        """The kernel as depthwise weights (c, 1, 4, 4) for the channels of ``x``."""
        return self.kernel.to(x.dtype).expand(int(x.shape[1]), 1, 4, 4)  # int: a constant for the ONNX exporter

    def blur(self, x: Tensor, padding: int, stride: int = 1, bias: Tensor | None = None) -> Tensor:
        """Filter (b, c, h, w) with zero padding, add bias (c,) -> (b, c, (h + 2 padding - 4) // stride + 1, ...)."""
        return F.conv2d(x, self.weight(x), bias, padding=padding, stride=stride, groups=x.shape[1])

    def upsample(self, x: Tensor) -> Tensor:
        """Double (b, c, h, w) to (b, c, 2h, 2w); with gain 4 flat areas keep their value."""
        return F.conv_transpose2d(x, self.weight(x), stride=2, padding=1, groups=x.shape[1])


class EqualizedConv2d(nn.Module):
    """Convolution whose N(0, 1) weight is scaled by 1 / sqrt(fan_in) at run time (StyleGAN, equalized rate)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = False,
        zero_start: bool = False,
    ) -> None:
        """Args: zero_start: start from zero weights, so that a residual branch adds nothing at first."""
        super().__init__()
        start = torch.zeros if zero_start else torch.randn
        self.weight = nn.Parameter(start(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, h', w')."""
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)


class EqualizedLinear(nn.Module):
    """Linear layer with equalized rate and, for the mapping network, a lower one (``lr_multiplier``)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias_start: float = 0.0,
        lr_multiplier: float = 1.0,
        activate: bool = False,
    ) -> None:
        """Args: activate: end with the scaled leaky ReLU."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_start))
        self.scale = lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """(b, in) -> (b, out)."""
        gain = GAIN if self.activate else 1.0
        out = F.linear(x, self.weight * (self.scale * gain), self.bias * (self.lr_multiplier * gain))
        return leaky_relu(out) if self.activate else out


class ConvLayer(nn.Module):
    """Equalized convolution, bias and scaled leaky ReLU; ``down`` blurs and halves, as in StyleGAN2's discriminator."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, down: bool = False, activate: bool = True
    ) -> None:
        """Args: activate: with bias and activation; the 1x1 shortcut of a residual block has neither."""
        super().__init__()
        self.blur_padding = (kernel_size + 1) // 2
        self.filter = BinomialFilter() if down else None
        # A 1x1 kernel halves in the blur itself: the same numbers from a quarter of the filter's work.
        self.blur_stride = 2 if down and kernel_size == 1 else 1
        self.conv = EqualizedConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=2 // self.blur_stride if down else 1,
            padding=0 if down else kernel_size // 2,
        )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if activate else None

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, h, w), or half the size with ``down``."""
        if self.filter is not None:
            x = self.filter.blur(x, self.blur_padding, self.blur_stride)
        if self.bias is None:
            out: Tensor = self.conv(x)
            return out
        weight = self.conv.weight * (self.conv.scale * GAIN)
        return leaky_relu(F.conv2d(x, weight, self.bias * GAIN, self.conv.stride, self.conv.padding))


class UpConvLayer(nn.Module):
    """StyleGAN2's upsampling convolution without modulation: transposed 3x3, stride 2, then blur; doubles the size."""

    def __init__(self, in_channels: int, out_channels: int, *, zero_start: bool = False) -> None:
        """Args: zero_start: begin with zero weights, so that the layer adds nothing at first."""
        super().__init__()
        self.conv = EqualizedConv2d(in_channels, out_channels, 3, zero_start=zero_start)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.filter = BinomialFilter(gain=4)

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, 2h, 2w)."""
        weight = (self.conv.weight * (self.conv.scale * GAIN)).transpose(0, 1)
        return leaky_relu(self.filter.blur(F.conv_transpose2d(x, weight, stride=2), 1, bias=self.bias * GAIN))


class ModulatedConv2d(nn.Module):
    """Convolution whose input channels are scaled by a style and whose output is normalised again (StyleGAN2, 2.2).

    Scaling the weight per sample equals scaling input and output around one shared weight; the latter needs no
    grouped convolution and no copy of the weight per sample.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_dim: int,
        *,
        demodulate: bool = True,
        up: bool = False,
    ) -> None:
        """Args: up: double the size (transposed convolution, then blur)."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.modulation = EqualizedLinear(style_dim, in_channels, bias_start=1.0)
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.padding = kernel_size // 2
        self.demodulate = demodulate
        self.filter = BinomialFilter(gain=4) if up else None

    def forward(self, x: Tensor, style: Tensor, bias: Tensor, gain: float = 1.0) -> Tensor:
        """(b, in, h, w), style (b, style_dim), bias (out,) -> gain * convolution + bias.

        Returns:
            (b, out, h, w), twice the size with ``up``.
        """
        style = self.modulation(style)  # (b, in)
        weight = self.weight * self.scale
        x = x * style[:, :, None, None]
        if not self.demodulate:
            return F.conv2d(x, weight * gain, bias, padding=self.padding)
        if self.filter is None:
            x = F.conv2d(x, weight, padding=self.padding)
        else:
            x = self.filter.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1)
        factor = self.demodulation(weight, style) * gain  # (b, out)
        return (x * factor[:, :, None, None]).add_(bias[:, None, None])

    @staticmethod
    def demodulation(weight: Tensor, style: Tensor) -> Tensor:
        """1 / norm of each output channel's modulated weight, (b, out)."""
        energy = weight.square().sum(dim=(2, 3))  # (out, in)
        return torch.rsqrt(style.square() @ energy.t() + 1e-8)


def minibatch_stddev(x: Tensor) -> Tensor:
    """Append one channel with the mean standard deviation over the whole batch (GPEN's group is the batch).

    (b, c, h, w) -> (b, c + 1, h, w).
    """
    values = x.to(torch.promote_types(x.dtype, torch.float32))  # 1e-8 underflows in fp16
    centred = values - _mean_over_batch(values)
    deviation = torch.sqrt(_mean_over_batch(centred.square()) + 1e-8).mean().to(x.dtype)
    return torch.cat([x, deviation.expand(x.shape[0], 1, *x.shape[2:])], dim=1)


def _mean_over_batch(x: Tensor) -> Tensor:
    """Mean over dimension 0 and over the processes that train together, all of them with equal batches."""
    mean = x.mean(dim=0)
    if not (torch.is_grad_enabled() and dist.is_available() and dist.is_initialized()):
        return mean
    out: Tensor = _SumOverProcesses.apply(mean) / dist.get_world_size()
    return out


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce; each process's gradient is the sum of all of theirs, twice differentiable for the R1 penalty."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        out: Tensor = _SumOverProcesses.apply(gradient)
        return out
