"""Winograd's minimal filtering (Lavin and Gray, CVPR 2016, arXiv 1509.09308) for convolutions on CPUs.

A tile of 4x4 outputs of a 3x3 convolution takes 36 multiplications per pair of channels instead of 144, one of a 5x5
convolution 64 instead of 400; tiles of 2x2 outputs take 16 of 36 and 36 of 100, with smaller weights. Input tiles are
transformed, multiplied as one batch of matrix products, and transformed back, strip by strip, in two buffers that stay
in the cache. Maps are (b, c, h, w) in channels_last memory.
"""

import platform
import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..layers import leaky_relu

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # small integers and their inverses keep rounding small
STRIP_BYTES = 9 * 2**20  # transformed inputs of one strip: measured best between 4 and 64 MiB
_BUFFERS = threading.local()


def pays(device: torch.device, dtype: torch.dtype) -> bool:
    """Say whether Winograd's convolutions beat direct ones: in float32, where matrix products use the whole CPU.

    MKL leaves AVX-512 unused on processors that are not Intel's, while oneDNN's direct convolutions use it.
    """
    whole = torch.backends.cpu.get_cpu_capability() != 'AVX512' or is_intel()
    return device.type == 'cpu' and dtype is torch.float32 and whole


def is_intel() -> bool:
    """Say whether this processor is Intel's."""
    told = Path('/proc/cpuinfo')
    return 'GenuineIntel' in (told.read_text() if told.is_file() else platform.processor())


def transforms(taps: int, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices A (outputs, t), B (t, t), G (t, taps), t = outputs + taps - 1, float64, of the filter F(outputs, taps).

    The correlation of d (t,) with g (taps,) is A ((G g) * (B d)). They are polynomial multiplication by evaluation and
    interpolation at ``POINTS`` and infinity, transposed.
    """
    points = torch.tensor(POINTS[: outputs + taps - 2], dtype=torch.float64)
    size = len(points) + 1
    evaluation = torch.zeros(size, size, dtype=torch.float64)
    evaluation[:-1] = points[:, None] ** torch.arange(size)
    evaluation[-1, -1] = 1  # infinity: the leading coefficient
    at_infinity = evaluation[-1:]
    filtering = torch.cat([evaluation[:-1, :taps], at_infinity[:, -taps:]])
    collecting = torch.cat([evaluation[:-1, :outputs], at_infinity[:, -outputs:]])
    return collecting.t().contiguous(), torch.linalg.inv(evaluation).t().contiguous(), filtering


class WinogradConv2d(nn.Module):
    """Convolution with stride 1 that keeps the size; with optional bias and leaky ReLU.

    Its input comes with ``margin`` zeros on every side, and may come in parts that follow each other in the channels.
    """

    weight: Tensor
    bias: Tensor
    into: Tensor
    out_of: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, slope: float | None = None, outputs: int = 4) -> None:
        """Convert the weight.

        Args:
            weight: (out, in, k, k), k odd.
            bias: (out,).
            slope: end with a leaky ReLU of this slope.
            outputs: side of a tile of outputs, which must divide the maps' sides; a smaller one has smaller weights.
        """
        super().__init__()
        self.outputs = outputs
        self.out_channels, self.in_channels, self.taps, _ = weight.shape
        self.margin, self.slope = self.taps // 2, slope
        collect, spread, evaluate = (m.to(weight.device) for m in transforms(self.taps, outputs))
        self.register_buffer('weight', turned_weight(weight, torch.kron(evaluate, evaluate)))
        self.register_buffer('bias', torch.zeros_like(weight[:, 0, 0, 0]) if bias is None else bias.clone())
        self.register_buffer('into', torch.kron(spread, spread).to(weight.dtype))  # (t t, t t)
        self.register_buffer('out_of', torch.kron(collect, collect).to(weight.dtype))  # (outputs**2, t t)

    def forward(
        self,
        parts: Sequence[Tensor],
        style: Tensor | None = None,
        gain: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Convolve ``parts`` times ``style`` and multiply by ``gain``.

        Args:
            parts: maps (b, c, h + 2 margin, w + 2 margin) whose channels add up to ``in_channels``; h and w are
                multiples of ``outputs``.
            style: (b, in_channels), the scale of each input channel.
            gain: (b, out_channels), the scale of each output channel before the bias.
            out: (b, out_channels, h, w) to write to.
        """
        batch, _, height, width = parts[0].shape
        height, width = height - 2 * self.margin, width - 2 * self.margin
        if out is None:
            out = parts[0].new_empty(batch, height, width, self.out_channels).permute(0, 3, 1, 2)
        for i in range(batch):
            maps = [part[i].permute(1, 2, 0) for part in parts]
            scale = None if style is None else style[i].to(out.dtype)
            factor = None if gain is None else gain[i].to(out.dtype)
            self._one(maps, scale, factor, out[i].permute(1, 2, 0))
        return out

    def _one(self, maps: list[Tensor], style: Tensor | None, gain: Tensor | None, out: Tensor) -> None:
        """The same for one sample, all maps (h, w, c)."""
        side, tile = self.outputs, self.taps + self.outputs - 1
        rows, columns = out.shape[0] // side, out.shape[1] // side
        windows = [x.unfold(0, tile, side).unfold(1, tile, side).permute(3, 4, 0, 1, 2) for x in maps]
        targets = out.unflatten(0, (rows, side)).unflatten(2, (columns, side)).permute(1, 3, 0, 2, 4)
        step = self._rows_at_once(columns, out.element_size())
        for row in range(0, rows, step):
            strip = slice(row, min(row + step, rows))
            self._strip([x[:, :, strip] for x in windows], style, gain, targets[:, :, strip])

    def _rows_at_once(self, columns: int, element: int) -> int:
        row = self.into.shape[0] * columns * max(self.in_channels, self.out_channels) * element
        return max(1, STRIP_BYTES // row)

    def _strip(self, windows: list[Tensor], style: Tensor | None, gain: Tensor | None, target: Tensor) -> None:
        """Windows (t, t, rows, columns, c) of the input -> target (outputs, outputs, rows, columns, out)."""
        points, shape = self.into.shape[0], windows[0].shape[:4]
        tiles = shape[2] * shape[3]
        wide = points * tiles * max(self.in_channels, self.out_channels)
        first, second = scratch(2, wide, self.weight)
        gathered = first[: points * tiles * self.in_channels].view(*shape, self.in_channels)
        _gather(windows, style, gathered)
        turned = second[: gathered.numel()].view(points, tiles, self.in_channels)
        torch.mm(self.into, gathered.view(points, -1), out=turned.view(points, -1))
        products = first[: points * tiles * self.out_channels].view(points, tiles, self.out_channels)
        torch.bmm(turned, self.weight, out=products)
        result = second[: self.outputs**2 * tiles * self.out_channels].view(self.outputs**2, -1)
        torch.mm(self.out_of, products.view(points, -1), out=result)
        self._finish(result.view(target.shape), gain, target)

    def _finish(self, result: Tensor, gain: Tensor | None, target: Tensor) -> None:
        if gain is None:
            torch.add(result, self.bias, out=target)
        else:
            torch.addcmul(self.bias, result, gain, out=target)
        if self.slope is not None:
            leaky_relu(target, self.slope)


def turned_weight(weight: Tensor, matrix: Tensor) -> Tensor:
    """Weight (out, in, k, k) in Winograd's domain, (points, in, out); matrix (points, k k), float64."""
    outputs, inputs = weight.shape[:2]
    turned = weight.new_empty(len(matrix), inputs, outputs)
    for start in range(0, outputs, 64):  # slices, since double precision of all at once would be the peak of memory
        some = weight[start : start + 64].flatten(2).permute(2, 1, 0).double()  # (k k, in, some)
        turned[:, :, start : start + 64] = torch.tensordot(matrix, some, dims=1)
    return turned


def _gather(windows: list[Tensor], style: Tensor | None, gathered: Tensor) -> None:
    """Copy overlapping windows, part after part, to (t, t, rows, columns, in); the style costs no pass of its own."""
    start = 0
    for part in windows:
        channels = slice(start, start + part.shape[-1])
        if style is None:
            gathered[..., channels].copy_(part)
        else:
            torch.mul(part, style[channels], out=gathered[..., channels])
        start = channels.stop


def scratch(count: int, numel: int, like: Tensor) -> list[Tensor]:
    """Flat buffers of this thread, kept between calls: fresh memory of the system costs more than it takes to fill."""
    kept = _BUFFERS.__dict__.setdefault('kept', {})
    buffers = kept.setdefault((like.dtype, like.device), [])
    if len(buffers) < count or buffers[0].numel() < numel:
        numel = max([numel, *(buffer.numel() for buffer in buffers)])
        with torch.inference_mode(False):  # so that they serve in any mode
            buffers[:] = [
                torch.empty(numel, dtype=like.dtype, device=like.device) for _ in range(max(count, len(buffers)))
            ]
    out: list[Tensor] = buffers[:count]
    return out
