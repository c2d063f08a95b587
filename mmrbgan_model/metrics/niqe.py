"""NIQE (Mittal et al., 2013) as BasicSR computes it, batched and several times as fast; on the CPU or a GPU.

The values are BasicSR's, and so is the pristine model (``niqe_pris_params.npz`` of the installed package). The time is
saved by inverting the Gaussian's shape function with one sorted table instead of a search over 9801 values per block,
by treating all blocks together, and by running the 7x7 window as two passes.
"""

import functools
import importlib.util
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.special import gamma
from torch import Tensor

from mmrbgan_arch.basicsr_bridge import register_metric
from mmrbgan_arch.errors import UsageError

from .pictures import from_bgr, pick_device

BLOCK = 96
LUMA = (65.481, 128.553, 24.966)  # ITU-R BT.601, MATLAB's rgb2ycbcr
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


@register_metric
def calculate_niqe_fast(
    img: np.ndarray, img2: np.ndarray | None = None, crop_border: int = 0, device: str | None = 'cpu'
) -> float:
    """NIQE of one BGR uint8 picture (h, w, 3); lower is better. ``img2`` is not looked at."""
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
    target = pick_device(device)
    luma = _luma(pictures[:, : rows * BLOCK, : columns * BLOCK], target)
    fine = _features(_normalise(luma), BLOCK)
    coarse = _features(_normalise(_halve(luma)), BLOCK // 2)
    features = torch.cat([fine, coarse], dim=-1).cpu().numpy()  # (b, blocks, 36)
    return np.array([_distance(one) for one in features])


def _luma(pictures: np.ndarray, device: torch.device) -> Tensor:
    """RGB uint8 (b, h, w, 3) -> rounded luma (b, 1, h, w), float64, in [16, 235]."""
    rgb = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).double()
    return (rgb @ rgb.new_tensor(LUMA) / 255 + 16).round()[:, None]


def _normalise(luma: Tensor) -> Tensor:
    """Subtract the local mean and divide by the local deviation (Eq. 1): (b, 1, h, w) -> the same."""
    # Sums in float64, results in float32, as BasicSR's: in flat regions the numerator is then exactly zero.
    mean, mean_of_squares = _blur(luma.double()).float(), _blur(luma.double() ** 2).float()
    return (luma.float() - mean) / ((mean_of_squares - mean**2).abs().sqrt() + 1)


def _blur(x: Tensor) -> Tensor:
    """Blur with the model's Gaussian window in two passes, edges repeated."""
    kernel = torch.from_numpy(_model()['kernel']).to(x)
    x = F.pad(x, (3, 3, 3, 3), mode='replicate')
    x = sum(weight * x[..., i : x.shape[-2] - 6 + i, :] for i, weight in enumerate(kernel))  # type: ignore[assignment]
    return sum(weight * x[..., i : x.shape[-1] - 6 + i] for i, weight in enumerate(kernel))  # type: ignore[return-value]


def _halve(luma: Tensor) -> Tensor:
    """MATLAB's imresize by 0.5: bicubic, antialiased, edges mirrored; (b, 1, h, w) -> (b, 1, h/2, w/2), float32.

    One product per row and column, as BasicSR does it: the rounding of float32 decides which step of the shape's table
    a block falls on, and one step moves NIQE by 1e-3.
    """
    taps = luma.new_tensor(_cubic_taps(), dtype=torch.float32)
    halves = [_halve_columns(_halve_columns(one.T, taps).T.contiguous(), taps) for one in luma[:, 0].float() / 255]
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
    negative, positive = x.clamp(max=0), x.clamp(min=0)
    below, above = _energy(negative), _energy(positive)
    left, right = (below / (x < 0).sum(-1)).sqrt(), (above / (x > 0).sum(-1)).sqrt()
    ratio = left / right
    mean = (positive - negative).sum(-1, dtype=torch.float64) / x.shape[-1]
    spread = mean**2 / ((below + above) / x.shape[-1])
    alpha = _invert(spread * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2)
    scale = torch.exp((torch.lgamma(1 / alpha) - torch.lgamma(3 / alpha)) / 2)
    return alpha, left * scale, right * scale


def _energy(x: Tensor) -> Tensor:
    """(b, blocks, n) -> sums of squares (b, blocks), float64."""
    return x.square().sum(-1, dtype=torch.float64)


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
