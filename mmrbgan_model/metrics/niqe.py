"""NIQE (Mittal et al., 2013) as BasicSR computes it, batched and several times as fast; on the CPU or a GPU.

The values are BasicSR's, and so is the pristine model (``niqe_pris_params.npz`` of the installed package). The time is
saved by inverting the Gaussian's shape function with one sorted table instead of a search over 9801 values per block,
and by running the 7x7 window as two passes.
"""

import contextlib
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.special import gamma
from torch import Tensor

from mmrbgan_arch.basicsr_bridge import register_metric
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.ranges import Device, Range

from .tensors import from_bgr, pick_device

BLOCK = 96
LUMA = (65.481, 128.553, 24.966)  # ITU-R BT.601, MATLAB's rgb2ycbcr
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


@register_metric
def calculate_niqe_fast(
    img: np.ndarray,
    img2: np.ndarray | None = None,
    crop_border: Annotated[int, Range(0, 1024)] = 0,
    device: Device | None = 'cpu',
    **kwargs: Any,  # BasicSR hands `better` over, too
) -> float:
    """NIQE of one BGR uint8 picture (h, w, 3); lower is better. ``img2`` and ``kwargs`` are not looked at."""
    height, width = img.shape[:2]
    picture = from_bgr(img[crop_border : height - crop_border, crop_border : width - crop_border])
    return float(niqe(picture, device)[0])


@torch.inference_mode()
def niqe(pictures: np.ndarray, device: str | None = 'cpu') -> np.ndarray:
    """RGB uint8 (b, h, w, 3) -> NIQE (b,).

    Raises:
        UsageError: pictures with fewer than two blocks of 96 x 96.
    """
    rows, columns = pictures.shape[1] // BLOCK, pictures.shape[2] // BLOCK
    if rows * columns < 2:
        raise UsageError(f'NIQE needs pictures of 96 x 192 and more; found {pictures.shape[1]} x {pictures.shape[2]}')
    with _one_thread():
        luma = _luma(pictures[:, : rows * BLOCK, : columns * BLOCK], pick_device(device))
        fine = _features(_normalise(luma), BLOCK)
        coarse = _features(_normalise(_halve(luma)), BLOCK // 2)
        features = torch.cat([fine, coarse], dim=-1).cpu().numpy()  # (b, blocks, 36)
    return np.array([_distance(one) for one in features])


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: these operations are so short that threads gain nothing on the CPU.

    On a machine that others use too they wait for each other and lose: thirty times as long was seen.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _luma(pictures: np.ndarray, device: torch.device) -> Tensor:
    """RGB uint8 (b, h, w, 3) -> rounded luma (b, 1, h, w), float32, in [16, 235]."""
    # By way of [0, 1] in float32, as BasicSR: it decides how a luma in the middle between two levels is rounded.
    rgb = (torch.from_numpy(np.ascontiguousarray(pictures)).to(device).float() / 255).double()
    luma = ((rgb @ rgb.new_tensor(LUMA) + 16) / 255).float()
    return (luma * 255).round()[:, None]


def _normalise(luma: Tensor) -> Tensor:
    """Subtract the local mean and divide by the local deviation (Eq. 1): (b, 1, h, w) -> the same."""
    # Sums in float64, results in float32, as BasicSR's: in flat regions the numerator is then exactly zero.
    mean, mean_of_squares = (_blur(one.double()).float() for one in (luma, luma**2))
    deviation = (mean_of_squares - mean**2).abs().double().sqrt().float()  # torch's float32 root is not the nearest
    return (luma - mean) / (deviation + 1)


def _blur(x: Tensor) -> Tensor:
    """Blur with the model's Gaussian window in two passes, edges repeated."""
    kernel = _model()['kernel'].tolist()
    x = F.pad(x, (3, 3, 3, 3), mode='replicate')
    return _weigh(_weigh(x, kernel, dim=-2), kernel, dim=-1)


def _weigh(x: Tensor, kernel: list[float], dim: int) -> Tensor:
    """Convolve ``x`` with a symmetric kernel along ``dim``, which shrinks by the kernel's length less one."""
    length = x.shape[dim] - len(kernel) + 1
    result = x.narrow(dim, 0, length) * kernel[0]
    for i, weight in enumerate(kernel[1:], 1):
        result.add_(x.narrow(dim, i, length), alpha=weight)
    return result


def _halve(luma: Tensor) -> Tensor:
    """MATLAB's imresize by 0.5: bicubic, antialiased, edges mirrored; (b, 1, h, w) -> (b, 1, h/2, w/2), float32.

    One product per row and column, as BasicSR does it: the rounding of float32 decides which step of the shape's table
    a block falls on, and one step moves NIQE by 1e-3.
    """
    taps = luma.new_tensor(_cubic_taps(), dtype=torch.float32)
    halves = [_halve_columns(_halve_columns(one.T, taps).T.contiguous(), taps) for one in luma[:, 0] / 255]
    return torch.stack(halves)[:, None] * 255


def _halve_columns(x: Tensor, taps: Tensor) -> Tensor:
    """(h, w) -> (h, w/2); ``x`` may be a transposed view."""
    rows = x.T if x.stride(0) == 1 else x  # keeps the layout in memory
    dim = 0 if rows is not x else 1
    edges = rows.narrow(dim, 0, 3).flip(dim), rows.narrow(dim, x.shape[1] - 3, 3).flip(dim)
    padded = torch.cat([edges[0], rows, edges[1]], dim)
    padded = padded.T if rows is not x else padded
    return torch.stack([padded[:, i : i + 8].mv(taps) for i in range(0, x.shape[1], 2)], dim=1)


def _cubic_taps() -> list[float]:
    """The eight weights of bicubic (a = -0.5) made twice as wide, at distances 0.25, 0.75, 1.25 and 1.75."""
    weights = [_cubic(abs(i - 3.5) / 2) for i in range(8)]
    return [weight / sum(weights) for weight in weights]


def _cubic(x: float) -> float:
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2


def _features(x: Tensor, block: int) -> Tensor:
    """(b, 1, h, w) -> the 18 features of each block (b, blocks, 18), blocks column by column."""
    blocks = x[:, 0].unfold(1, block, block).unfold(2, block, block).transpose(1, 2).flatten(1, 2)
    alpha, left, right = _fit(blocks)
    features = [alpha, (left + right) / 2]
    for shift in SHIFTS:
        alpha, left, right = _fit(blocks * blocks.roll(shift, dims=(-2, -1)))
        mean = (right - left) * torch.exp(torch.lgamma(2 / alpha) - torch.lgamma(1 / alpha))  # Eq. 8
        features += [alpha, mean, left, right]
    return torch.stack(features, dim=-1)


def _fit(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fit the asymmetric generalised Gaussian (Eq. 7) to each block: shape, left and right scale (b, blocks)."""
    x = blocks.flatten(2)
    left, right, ratio = _moments(x) if x.device.type == 'cpu' else _moments_on_gpu(x)
    alpha = _invert(ratio)
    scale = torch.exp((torch.lgamma(1 / alpha) - torch.lgamma(3 / alpha)) / 2)
    return alpha, left * scale, right * scale


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left and right deviation and the shape's function value of each block: (b, blocks, n) -> (b, blocks), float64.

    Sums and products of float32 in numpy's order, as BasicSR has them: their rounding decides now and then which step
    of the shape's table a block falls on.
    """
    with np.errstate(all='ignore'):
        found = np.array([_block_moments(block) for block in x.flatten(0, 1).numpy()])
    left, right, ratio = torch.from_numpy(found.astype(np.float64)).view(*x.shape[:2], 3).unbind(-1)
    return left, right, ratio


def _block_moments(block: np.ndarray) -> tuple[np.floating, np.floating, np.floating]:
    left, right = (np.sqrt(_mean(side**2)) for side in (block[block < 0], block[block > 0]))
    skew = left / right
    spread = _mean(np.abs(block)) ** 2 / _mean(block**2)
    return left, right, (spread * (skew**3 + 1) * (skew + 1)) / (skew**2 + 1) ** 2


def _mean(x: np.ndarray) -> np.floating:
    """Average in float32; of nothing, not a number."""
    result: np.floating = np.add.reduce(x) / np.float32(len(x))
    return result


def _moments_on_gpu(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As ``_moments``, with sums in float64, whatever their order."""
    negative, positive = x.clamp(max=0), x.clamp(min=0)
    below, above = (side.square().sum(-1, dtype=torch.float64) for side in (negative, positive))
    left, right = (below / (x < 0).sum(-1)).sqrt(), (above / (x > 0).sum(-1)).sqrt()
    skew = left / right
    mean = (positive - negative).sum(-1, dtype=torch.float64) / x.shape[-1]
    spread = mean**2 / ((below + above) / x.shape[-1])
    return left, right, spread * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2


def _invert(value: Tensor) -> Tensor:
    """Return the shape in 0.2, 0.201, ... 10 whose function value is nearest."""
    shapes, values = (torch.from_numpy(table).to(value) for table in _shape_table())
    upper = torch.searchsorted(values, value.contiguous()).clamp(1, len(values) - 1)
    nearest = upper - (value - values[upper - 1] <= values[upper] - value).long()
    return shapes[torch.where(value.isnan(), 0, nearest)]


@functools.cache
def _shape_table() -> tuple[np.ndarray, np.ndarray]:
    shapes = np.arange(0.2, 10.001, 0.001)
    inverse = 1 / shapes
    return shapes, gamma(2 * inverse) ** 2 / (gamma(inverse) * gamma(3 * inverse))


def _distance(features: np.ndarray) -> float:
    """Distance of one picture's Gaussian from the pristine one (Eq. 10); features (blocks, 36)."""
    model = _model()
    sound = features[~np.isnan(features).any(axis=1)]
    if len(sound) < 2:
        return float('nan')  # a flat picture has no statistics
    difference = model['mean'] - np.nanmean(features, axis=0)
    inverse = np.linalg.pinv((model['covariance'] + np.cov(sound, rowvar=False)) / 2)
    return float(np.sqrt(difference @ inverse @ difference))


@functools.cache
def _model() -> dict[str, np.ndarray]:
    """The pristine model's mean (36,) and covariance (36, 36), and its window as one factor (7,)."""
    spec = importlib.util.find_spec('basicsr')
    if spec is None or not spec.submodule_search_locations:
        raise UsageError('NIQE reads its model from basicsr, which is not installed (Python 3.10 to 3.12)')
    with np.load(Path(spec.submodule_search_locations[0]) / 'metrics' / 'niqe_pris_params.npz') as file:
        window = file['gaussian_window'].astype(np.float64)
        kernel = window.sum(axis=0) / np.sqrt(window.sum())
        return {'mean': file['mu_pris_param'].ravel(), 'covariance': file['cov_pris_param'], 'kernel': kernel}
